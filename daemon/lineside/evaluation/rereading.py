"""What a model's reading adds, and the weights that the daemon takes it with (diagnosis/rereading.py).

Beside the reports whose manual is in the other language, those that have no entry are asked of that manual,
too. Both ways of ranking and of abstaining are fitted to one half of the reports and measured on the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from lineside.diagnosis.knowledge.fusion import ReadingWeights, features_of, kind_of, log_odds, probability
from lineside.diagnosis.knowledge.rereading import READ, Evidence, confidence, evidence_of, first_of
from lineside.diagnosis.knowledge.retrieval import Query, Retrieval
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.text_search import comparable
from lineside.diagnosis.rereading import gains_of, read
from lineside.diagnosis.writer import Reader
from lineside.evaluation.cases import Case, EvaluationError
from lineside.evaluation.fit import abstaining, half_of, logistic
from lineside.ports import Call
from lineside.serving.request import Principal

RANKINGS = (0.0, 0.005, 0.01, 0.02, 0.05)
# Of the reports without an entry, so many are to be abstained from: as the search alone does, and as it is
# with a model, which loses far fewer of the right answers by it.
SHARES = (0.75, 0.9)
SHIPPED_SHARE = 0.9
READING_S = 600.0
_PRINCIPAL = Principal("eval", "local")


class Reading(NamedTuple):
    """One report: the search's confidence in its first entry, and what the best few make of the text.

    `right`: the right entry's place among them; -1: it is not there. `gains`: log likelihoods, less that
    behind no entry.
    """

    id: str
    has_entry: bool
    right: int
    share: float
    scores: tuple[float, ...]
    gains: tuple[float, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Held out, at one share of reports without an entry that is to be abstained from."""

    ranked_by: str
    abstain_share: float
    reports: int
    hit1: float
    right: float
    wrong: float
    without_entry: int
    abstained: float


async def readings(
    cases: Sequence[Case], searchers: Mapping[str, Searcher], reader: Reader, advance: Callable[[], None]
) -> list[Reading]:
    """Of every report whose first entry is in another language."""
    found = []
    for case in cases:
        base = case.kb
        if case.expect.abstain:
            base = "zh_only" if case.lang == "en" else "en_only"
        reading = await _reading(case, searchers[base], reader)
        found += [reading] if reading else []
        advance()
    return found


def fitted_reading(found: Sequence[Reading]) -> ReadingWeights:
    """What the daemon takes a model's reading with. Raises EvaluationError where there is too little."""
    _check([found])
    return _taught(found, SHIPPED_SHARE, RANKINGS)


def rows_of(found: Sequence[Reading]) -> list[Row]:
    """By the search alone and with the model's reading. Raises EvaluationError where there is too little."""
    halves = [[one for one in found if half_of(one.id) == half] for half in (0, 1)]
    _check(halves)
    return [
        _row(name, share, halves, rankings)
        for share in SHARES
        for name, rankings in (("the search", ()), ("the search and the model's reading", RANKINGS))
    ]


def _check(parts: Sequence[Sequence[Reading]]) -> None:
    for part in parts:
        if not any(one.right == 0 for one in part) or all(one.has_entry for one in part):
            hint = "name reports in another language than their manuals, with and without an entry"
            raise EvaluationError("measure rereading", "there is nothing to fit to", hint)


async def _reading(case: Case, searcher: Searcher, reader: Reader) -> Reading | None:
    query = Query.of(case.report)
    ranked = searcher.ranking(query) if query.text and not case.expect.conflict else []
    if not ranked or comparable(ranked[0].found.entry, query.text):
        return None
    unread = Retrieval("none", unread=tuple(one.found.entry for one in ranked[:READ]))
    call = Call(_PRINCIPAL, time.monotonic_ns() + int(READING_S * 1e9))
    gains = gains_of(unread, await read(unread, query, reader, call))
    ids = list(gains)
    weights = searcher.calibration.weights(kind_of(query.text, comparable=False))
    return Reading(
        id=case.id,
        has_entry=not case.expect.abstain,
        right=ids.index(case.expect.entry) if case.expect.entry in ids else -1,
        share=probability(features_of(ranked, code=bool(query.code)), weights),
        scores=tuple(one.score for one in ranked[:READ]),
        gains=tuple(gains.values()),
    )


def _row(name: str, share: float, halves: Sequence[Sequence[Reading]], rankings: Sequence[float]) -> Row:
    judged: list[tuple[Reading, int, bool]] = []
    for taught, asked in (halves, halves[::-1]):
        weights = _taught(taught, share, rankings)
        judged += [(one, _first(one, weights.ranking), _answers(one, weights)) for one in asked]
    known = [(first == one.right, answers) for one, first, answers in judged if one.has_entry]
    unknown = [answers for one, _, answers in judged if not one.has_entry]
    return Row(
        ranked_by=name,
        abstain_share=share,
        reports=len(known),
        hit1=_share(right for right, _ in known),
        right=_share(right and answers for right, answers in known),
        wrong=_share(answers and not right for right, answers in known),
        without_entry=len(unknown),
        abstained=_share(not answers for answers in unknown),
    )


def _taught(taught: Sequence[Reading], share: float, rankings: Sequence[float]) -> ReadingWeights:
    """How to rank and to abstain. Without `rankings`: by the search alone, in the same form."""
    ranking = max(
        rankings, key=lambda one: (sum(_first(r, one) == r.right for r in taught), -one), default=0.0
    )
    right = [_first(one, ranking) == one.right for one in taught]
    seen: list[Sequence[float]] = [
        _evidence(one, ranking) if rankings else [log_odds(one.share)] for one in taught
    ]
    bias, *slopes = logistic(seen, right, [1.0] * len(taught))
    slopes += [0.0] * (len(Evidence._fields) - len(slopes))
    by_name = dict(zip(Evidence._fields, slopes, strict=True))
    weights = ReadingWeights(threshold=0.0, ranking=ranking, bias=bias, **by_name)
    missing = [confidence(_evidence(one, ranking), weights) for one in taught if not one.has_entry]
    return msgspec.structs.replace(weights, threshold=abstaining(missing, share))


def _answers(one: Reading, weights: ReadingWeights) -> bool:
    return confidence(_evidence(one, weights.ranking), weights) >= weights.threshold


def _evidence(one: Reading, ranking: float) -> Evidence:
    return evidence_of(one.share, one.gains, _first(one, ranking))


def _first(one: Reading, ranking: float) -> int:
    return first_of(one.scores, one.gains, ranking)


def _share(flags: Iterable[bool]) -> float:
    chosen = list(flags)
    return round(sum(chosen) / max(len(chosen), 1), 4)
