"""What a model adds that reads a report's text behind each entry found for it in another language.

Measured only: answers do not use it. Words cannot be compared across languages, and vectors alone decide
there; how likely the model holds the text, once it has read an entry, is a second opinion. Beside the reports
whose manual is in the other language, those that have no entry are asked of that manual, too. Both ways of
ranking and of abstaining are fitted to one half of the reports and measured on the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from lineside.diagnosis.knowledge.fusion import Fused, features_of, kind_of, log_odds, probability
from lineside.diagnosis.knowledge.search import Query, Searcher
from lineside.diagnosis.knowledge.text_search import comparable
from lineside.evaluation.cases import Case, EvaluationError
from lineside.evaluation.fit import abstaining, logistic
from lineside.evaluation.reliability import half_of

READ = 5
CAUSE_CHARS = 120
WEIGHTS = (0.0, 0.005, 0.01, 0.02, 0.05)
# Of the reports without an entry, so many are to be abstained from: as shipped, and as one would like.
SHARES = (0.75, 0.9)
_DISPLAY = "The alarm shown on the machine's display:"
_NO_ENTRY = f"A maintenance technician's note.\n{_DISPLAY}"


class Reader(Protocol):
    """A model that tells how likely texts are behind a prompt, as logarithms."""

    async def behind(self, prompt: str, texts: Sequence[str]) -> list[float]:
        """For each text."""


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


def rows_of(found: Sequence[Reading]) -> list[Row]:
    """By the search alone and with the model's reading. Raises EvaluationError where there is too little."""
    halves = [[one for one in found if half_of(one.id) == half] for half in (0, 1)]
    for half in halves:
        if not any(one.right == 0 for one in half) or all(one.has_entry for one in half):
            hint = "name reports in another language than their manuals, with and without an entry"
            raise EvaluationError("measure rereading", "a half has nothing to fit to", hint)
    return [
        _row(name, share, halves, weights)
        for share in SHARES
        for name, weights in (("the search", WEIGHTS[:1]), ("the search and the model's reading", WEIGHTS))
    ]


async def _reading(case: Case, searcher: Searcher, reader: Reader) -> Reading | None:
    query = Query.of(case.report)
    ranked = searcher.ranking(query) if query.text and not case.expect.conflict else []
    if not ranked or comparable(ranked[0].found.entry, query.text):
        return None
    text = f" {query.text}"
    (unread,) = await reader.behind(_NO_ENTRY, [text])
    gains = [(await reader.behind(_prompt(one, case), [text]))[0] - unread for one in ranked[:READ]]
    ids = [one.found.entry.id for one in ranked[:READ]]
    weights = searcher.calibration.weights(kind_of(query.text, comparable=False))
    return Reading(
        id=case.id,
        has_entry=not case.expect.abstain,
        right=ids.index(case.expect.entry) if case.expect.entry in ids else -1,
        share=probability(features_of(ranked, code=bool(query.code)), weights),
        scores=tuple(one.score for one in ranked[:READ]),
        gains=tuple(gains),
    )


def _prompt(one: Fused, case: Case) -> str:
    text = one.found.entry.text("zh" if case.lang == "zh" else "en")
    causes = " ".join(text.causes)[:CAUSE_CHARS]
    return f"Manual entry. {text.title}. {text.meaning} {causes}\n{_DISPLAY}"


class _Judge(NamedTuple):
    """How one half taught to rank and to abstain. A weight of 0 is the search alone."""

    weight: float
    fit: list[float]
    threshold: float

    def answers(self, one: Reading) -> bool:
        return _sure(one, self.weight, self.fit) >= self.threshold


def _row(name: str, share: float, halves: Sequence[Sequence[Reading]], weights: Sequence[float]) -> Row:
    judged: list[tuple[Reading, int, bool]] = []
    for taught, asked in (halves, halves[::-1]):
        judge = _taught(taught, share, weights)
        judged += [(one, _first(one, judge.weight), judge.answers(one)) for one in asked]
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


def _taught(taught: Sequence[Reading], share: float, weights: Sequence[float]) -> _Judge:
    weight = max(weights, key=lambda one: (sum(_first(r, one) == r.right for r in taught), -one))
    right = [_first(one, weight) == one.right for one in taught]
    fit = logistic([_features(one, weight) for one in taught], right, [1.0] * len(taught))
    missing = [_sure(one, weight, fit) for one in taught if not one.has_entry]
    return _Judge(weight, fit, abstaining(missing, share))


def _sure(one: Reading, weight: float, fit: Sequence[float]) -> float:
    odds = fit[0] + sum(slope * value for slope, value in zip(fit[1:], _features(one, weight), strict=True))
    return 1 / (1 + math.exp(-max(min(odds, 50.0), -50.0)))


def _features(one: Reading, weight: float) -> list[float]:
    if not weight:
        return [log_odds(one.share)]
    first = _first(one, weight)
    others = [gain for place, gain in enumerate(one.gains) if place != first]
    lead = one.gains[first] - max(others, default=one.gains[first])
    return [log_odds(one.share), one.gains[first], lead, float(first == 0)]


def _first(one: Reading, weight: float) -> int:
    """The place of the entry that comes first where likelihoods count so much."""
    return max(range(len(one.scores)), key=lambda place: one.scores[place] + weight * one.gains[place])


def _share(flags: Iterable[bool]) -> float:
    chosen = list(flags)
    return round(sum(chosen) / max(len(chosen), 1), 4)
