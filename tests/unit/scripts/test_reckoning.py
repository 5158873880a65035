import math

import pytest
from tests.support.ledger import Entry
from tests.support.reckoning import p95_s, slope, within_deadline


def entry(seconds, *, critical=True, reason=""):
    return Entry(10.0, critical, answered_s=None if seconds is None else 10.0 + seconds, reason=reason)


def test_a_slope_leaves_out_the_first_fifth():
    samples = [(hour, 500.0 if hour < 2 else 100.0 + 3 * hour) for hour in range(10)]
    assert slope(samples) == pytest.approx(3.0)
    assert slope(samples[:2]) == 0.0


def test_who_is_answered_late_or_not_at_all_or_told_so_is_not_in_time():
    entries = [entry(1), entry(3), entry(None), entry(0.1, reason="expired"), entry(None, critical=False)]
    assert within_deadline(entries, 2000) == 0.25
    assert within_deadline(entries, 3000) == 0.5
    assert within_deadline([], 1000) == 1.0


def test_the_95th_percentile_is_none_where_too_many_were_not_answered():
    assert p95_s([entry(1.0)] * 19 + [entry(None)]) == 1.0
    assert p95_s([entry(1.0)] * 18 + [entry(2.0)] * 2) == 2.0
    assert p95_s([entry(1.0)] * 18 + [entry(None)] * 2) is None
    assert not math.isnan(p95_s([]))
