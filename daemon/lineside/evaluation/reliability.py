"""Whether a confidence is worth its name: before it was fitted, and fitted on other reports than it is of.

The reports are cut in two by a hash of their ids. Each half gets weights and thresholds from the other one,
so that nothing is measured on what it was fitted to. Knows nothing of searches.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from lineside.diagnosis.draft import confidence
from lineside.diagnosis.knowledge.fusion import Calibration, probability, shipped_calibration
from lineside.evaluation.calibrate import ABSTAIN_SHARES, Example, choices_of, fitted, fitted_choice
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.fit import abstaining, half_of
from lineside.evaluation.outcome import Outcome

BINS = 10
# The greatest score that words and vector of a ranking can come to.
MAX_SCORE = 3.0

_Labelled = TypeVar("_Labelled", Example, Outcome)


class Judged(NamedTuple):
    """A confidence, whether the answer is right, and whether it would be given."""

    conf: float
    right: bool
    answered: bool


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """`ece`: expected calibration error. `aurc`: mean risk over all coverages. Both: less is better."""

    confidence: str
    reports: int
    ece: float
    aurc: float
    coverage: float
    risk: float


def of_search(examples: Sequence[Example]) -> list[Reliability]:
    """Of the search. Empty where a half shows too little to be fitted."""
    own = [one for one in examples if one.own]
    try:
        raw, held_out = _by_halves(examples, _raw), _by_halves(examples, _calibrated)
    except EvaluationError:
        return []
    shipped = [_judged(one, shipped_calibration()) for one in own]
    return [
        reliability_of("uncalibrated", raw),
        reliability_of("fitted on the other half", held_out),
        reliability_of("as shipped", shipped),
    ]


def of_model(outcomes: Sequence[Outcome]) -> list[Reliability]:
    """Of what a model chose. Empty where a half shows too little to be fitted."""
    choices = choices_of(outcomes)
    try:
        held_out = _by_halves(choices, _chosen)
    except EvaluationError:
        return []
    scores = [Judged(one.score, one.right, answered=True) for one in choices]
    plain = [Judged(confidence(one.score, one.choice or 0.0), one.right, answered=True) for one in choices]
    return [
        reliability_of("retrieval's alone", scores),
        reliability_of("with the choice's probability, uncalibrated", plain),
        reliability_of("fitted on the other half", held_out),
    ]


def reliability_of(name: str, judged: Sequence[Judged]) -> Reliability:
    """Sums over `judged`, which are not empty."""
    answered = [one for one in judged if one.answered]
    wrong = sum(not one.right for one in answered)
    return Reliability(
        confidence=name,
        reports=len(judged),
        ece=round(_ece(judged), 4),
        aurc=round(_aurc(judged), 4),
        coverage=round(len(answered) / len(judged), 4),
        risk=round(wrong / max(len(answered), 1), 4),
    )


def _by_halves(
    labelled: Sequence[_Labelled], judge: Callable[[Sequence[_Labelled], Sequence[_Labelled]], list[Judged]]
) -> list[Judged]:
    halves = [[one for one in labelled if half_of(one.id) == half] for half in (0, 1)]
    return judge(halves[0], halves[1]) + judge(halves[1], halves[0])


def _calibrated(taught: Sequence[Example], asked: Sequence[Example]) -> list[Judged]:
    calibration = fitted(taught)
    return [_judged(one, calibration) for one in asked if one.own]


def _judged(example: Example, calibration: Calibration) -> Judged:
    weights = calibration.weights(example.kind)
    conf = probability(example.features, weights)
    return Judged(conf, example.right, conf >= weights.threshold)


def _raw(taught: Sequence[Example], asked: Sequence[Example]) -> list[Judged]:
    """The score that is ranked by, as a share of the greatest: what there would be without a fit."""
    levels = {
        kind: abstaining((_share(one) for one in taught if one.no_entry and one.kind == kind), share)
        for kind, share in ABSTAIN_SHARES.items()
    }
    return [Judged(_share(one), one.right, _share(one) >= levels[one.kind]) for one in asked if one.own]


def _share(example: Example) -> float:
    return (example.features.words + 2 * example.features.vector) / MAX_SCORE


def _chosen(taught: Sequence[Outcome], asked: Sequence[Outcome]) -> list[Judged]:
    weights = fitted_choice(taught)
    confidences = [weights.probability(one.score, one.choice or 0.0) for one in asked]
    return [
        Judged(conf, one.right, conf >= weights.threshold)
        for conf, one in zip(confidences, asked, strict=True)
    ]


def _ece(judged: Sequence[Judged]) -> float:
    bins: dict[int, list[Judged]] = {}
    for one in judged:
        bins.setdefault(min(int(one.conf * BINS), BINS - 1), []).append(one)
    gaps = (abs(sum(one.right for one in held) - sum(one.conf for one in held)) for held in bins.values())
    return sum(gaps) / len(judged)


def _aurc(judged: Sequence[Judged]) -> float:
    ranked = sorted(judged, key=lambda one: -one.conf)
    wrong, risks = 0, []
    for count, one in enumerate(ranked, 1):
        wrong += not one.right
        risks.append(wrong / count)
    return statistics.mean(risks)
