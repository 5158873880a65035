"""How often a call is timed at the start: whoever waits for the daemon waits for it."""

import pytest

from lineside.engine import onnxruntime

MS = 1_000_000


@pytest.mark.parametrize(
    ("each_ms", "runs", "median_ms"),
    [
        ((30, 10, 12, 11), 4, 11),  # the first, which allocates, is left out
        ((60, 45, 40), 2, 45),
        ((110, 90), 1, 110),
    ],
)
def test_a_long_call_is_timed_less_often(monkeypatch, each_ms, runs, median_ms):
    now, left = [0], list(each_ms)
    monkeypatch.setattr(onnxruntime.time, "perf_counter_ns", lambda: now[0])

    def call():
        now[0] += left.pop(0) * MS

    assert onnxruntime._median_ns(call) == median_ms * MS
    assert len(each_ms) - len(left) == runs
