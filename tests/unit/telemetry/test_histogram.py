import pytest

from lineside.telemetry.histogram import Histogram


def test_a_value_at_a_bound_belongs_below_it():
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert histogram.total == pytest.approx(8.65)


def test_before_the_first_value_every_bucket_is_there():
    assert Histogram((0.1,)).cumulative() == [("0.1", 0), ("+Inf", 0)]
