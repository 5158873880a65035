import pytest

from lineside.evaluation.fit import THRESHOLDS, abstaining, logistic, worth_most


def test_a_fit_finds_what_the_labels_follow():
    features = [(place / 10, 1.0 - place % 2) for place in range(20)]
    bias, first, second = logistic(features, [one[0] > 1 for one in features], [1.0] * 20)
    assert first > 1
    assert abs(second) < first / 5
    assert bias + first * 0.2 < 0 < bias + first * 1.8


def test_what_weighs_nothing_teaches_nothing():
    features, right = [(0.0,), (1.0,), (0.0,), (1.0,)], [False, True, True, False]
    assert logistic(features, right, [1.0, 1.0, 0.0, 0.0])[1] > 0.5
    assert logistic(features, right, [1.0] * 4)[1] == pytest.approx(0, abs=1e-6)


def test_a_threshold_keeps_a_share_of_what_has_no_entry_below():
    missing = [0.1, 0.2, 0.3, 0.4]
    assert abstaining(missing, 0.75) == 0.31
    assert abstaining(missing, 0.25) == THRESHOLDS[0]
    assert abstaining([0.99], 1.0) == THRESHOLDS[-1]


def test_a_threshold_is_worth_most_where_wrong_answers_cost_a_third():
    assert worth_most([0.3, 0.5, 0.8], [False, True, True]) == 0.31
    assert worth_most([0.3, 0.5, 0.8], [True, True, True]) == THRESHOLDS[0]
    assert worth_most([0.3] * 4 + [0.8], [True, False, False, False, True]) == THRESHOLDS[0]
    assert worth_most([0.3] * 5 + [0.8], [True, False, False, False, False, True]) == 0.31
