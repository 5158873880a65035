import msgspec
import pytest
from tests.unit.evaluation.test_metrics import outcome

from lineside.evaluation.fit import half_of
from lineside.evaluation.reliability import Judged, of_model, reliability_of


def test_a_confidence_that_keeps_its_word_has_no_error():
    kept = [Judged(0.75, place % 4 > 0, answered=True) for place in range(8)]
    found = reliability_of("kept", kept)
    assert (found.ece, found.coverage, found.risk) == (0.0, 1.0, 0.25)
    boasting = [one._replace(conf=0.95) for one in kept]
    assert reliability_of("boasting", boasting).ece == pytest.approx(0.2)


def test_bins_do_not_make_up_for_each_other():
    judged = [Judged(0.85, right=False, answered=True), Judged(0.15, right=True, answered=True)]
    assert reliability_of("swapped", judged).ece == pytest.approx(0.85)


def test_risk_is_of_what_is_answered_and_falls_where_the_wrong_come_last():
    last = [Judged(0.9, right=True, answered=True), Judged(0.2, right=False, answered=False)]
    first = [one._replace(conf=1 - one.conf) for one in last]
    assert (reliability_of("", last).coverage, reliability_of("", last).risk) == (0.5, 0.0)
    assert (reliability_of("", last).aurc, reliability_of("", first).aurc) == (0.25, 0.75)


def test_halves_are_about_equal_and_stay():
    halves = [half_of(f"r{number:04}") for number in range(400)]
    assert 160 < sum(halves) < 240
    assert halves == [half_of(f"r{number:04}") for number in range(400)]


def chosen(number):
    """A model that is right where it is sure."""
    right = number % 3 > 0
    return outcome(id=f"r{number}", right=right, score=0.6, choice=0.95 if right else 0.55, conf=0.5)


def test_a_models_choices_are_measured_by_halves():
    rows = of_model([chosen(number) for number in range(120)])
    by_name = {row.confidence: row for row in rows}
    held_out = by_name["fitted on the other half"]
    assert held_out.ece < by_name["with the choice's probability, uncalibrated"].ece
    assert held_out.aurc <= by_name["retrieval's alone"].aurc
    assert held_out.risk == 0.0
    assert held_out.reports == 120


def test_too_few_choices_measure_nothing():
    assert of_model([chosen(number) for number in range(20)]) == []
    unasked = [msgspec.structs.replace(chosen(number), choice=None) for number in range(120)]
    assert of_model(unasked) == []
