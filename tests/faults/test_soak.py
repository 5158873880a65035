"""What scripts/soak runs for hours, for some seconds: whatever is done, all are answered, nothing is kept."""

from types import SimpleNamespace

import pytest
from tests.support.soak_plan import ANSWERED, Plan
from tests.support.soaking import Soak

PLAN = Plan(
    kills=1,
    broker_kills=1,
    forgetful_kills=0,
    trouble_s=2.5,
    overload_s=1.5,
    troubles=("garbage",),
    trouble_every_s=1.0,
    warm_every_s=1.0,
    sample_s=0.5,
    settle_s=20.0,
    max_pending_reports=20,
)
# Of connections that end by and by.
CLOSING = 5


@pytest.fixture(scope="module")
def soaked(tmp_path_factory, reader):
    outcome = Soak(tmp_path_factory.mktemp("soak"), reader, PLAN, lambda _: None).run()
    return SimpleNamespace(**outcome.metrics, **outcome.samples)


def test_nothing_is_lost_or_answered_differently_whatever_is_killed(soaked):
    assert soaked.troubles["daemon killed"] == soaked.troubles["broker with persistence killed"] == 1
    assert (soaked.reports_lost, soaked.reports_answered_differently) == (0, 0)
    assert all(part["answered"] + part["shed"] >= part["sent"] > 0 for part in soaked.parts.values())


def test_each_answer_is_counted_by_what_it_is(soaked):
    counts = {one: getattr(soaked, f"answered_{one}") for one in ANSWERED}
    assert soaked.answered_otherwise == 0, soaked.answered
    assert sum(counts.values()) == sum(part["sent"] for part in soaked.parts.values())
    assert counts["diagnosis"] > 0
    assert counts["poison"] == counts["internal"] == counts["expired"] == 0


def test_critical_reports_are_answered_in_time_beside_trouble_and_of_five_times_too_many(soaked):
    assert soaked.troubles["garbage"] >= 2
    assert soaked.critical_answered_within_deadline == soaked.overload_critical_within_deadline == 1.0
    assert soaked.overload_shed_fraction > 0
    assert soaked.parts["overload"]["lost"] == 0


def test_no_slot_descriptor_or_thread_is_kept(soaked):
    assert soaked.slots_leaked == 0
    assert soaked.descriptors_leaked <= CLOSING
    assert soaked.threads_leaked <= CLOSING
