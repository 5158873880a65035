"""One answer held against its label. Knows nothing of how it was made, nor of sums over answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.knowledge.retrieval import Retrieval
from lineside.diagnosis.support import statements, unsupported
from lineside.evaluation.cases import Case


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one report. `rank` is the right entry's place among those found; 0: not there.

    `score`: retrieval's, of the entry that is cited first. `choice`: how likely the model held that entry,
    where it was found by text and a model has chosen.
    """

    id: str
    kind: str
    lang: str
    answerable: bool
    mode: str
    status: str
    reason: str
    right: bool
    ranked_first: bool
    rank: int
    citations: int
    citations_right: int
    citations_outside: int
    statements: int
    unsupported: int
    conf: float
    score: float
    choice: float | None
    latency_ms: float

    @property
    def abstained(self) -> bool:
        """Whether it names no entry. A conflict is an answer where a conflict is right."""
        return self.status != "ok"


def outcome_of(
    case: Case, found: Retrieval, diagnosis: Diagnosis, *, choice: float | None, latency_ms: float
) -> Outcome:
    """Judge an answer. `found` is what was retrieved for it, best first; `choice` as in `Outcome`."""
    entries = [candidate.entry for candidate in found.candidates]
    cited = [one.src for one in diagnosis.evidence if one.kind in ("manual", "confirmed")]
    by_citation = {entry.citation for entry in entries}
    ids = [entry.id for entry in entries]
    wanted = _wanted(case)
    return Outcome(
        id=case.id,
        kind=case.kind,
        lang=case.lang,
        answerable=not case.expect.abstain,
        mode=diagnosis.mode,
        status=diagnosis.status,
        reason=diagnosis.reason,
        right=_right(case, found, diagnosis, entries),
        ranked_first=_ranked_first(case, found, ids),
        rank=ids.index(case.expect.entry) + 1 if case.expect.entry in ids else 0,
        citations=len(cited),
        citations_right=sum(source in _sources(entries, wanted) for source in cited),
        citations_outside=sum(source not in by_citation for source in cited),
        statements=statements(diagnosis),
        # Cases are asked one by one, of pipelines without devices and history: nothing else was known.
        unsupported=len(unsupported(diagnosis, entries, case.report)),
        conf=diagnosis.conf,
        score=next((one.score for one in found.candidates if cited and one.entry.citation == cited[0]), 0.0),
        choice=choice,
        latency_ms=latency_ms,
    )


def _wanted(case: Case) -> set[str]:
    return {case.expect.entry, *case.expect.conflict} - {""}


def _sources(entries: Sequence[Entry], wanted: set[str]) -> set[str]:
    return {entry.citation for entry in entries if entry.id in wanted}


def _ranked_first(case: Case, found: Retrieval, ids: Sequence[str]) -> bool:
    """Whether retrieval has the right entry first, or all that collide; whatever the answer makes of it."""
    if case.expect.conflict:
        return found.verdict == "conflict" and set(ids) == set(case.expect.conflict)
    return bool(ids) and ids[0] == case.expect.entry


def _right(case: Case, found: Retrieval, diagnosis: Diagnosis, entries: Sequence[Entry]) -> bool:
    """Whether the answer itself is right: the entry that it cites first, the conflict, the abstention."""
    if case.expect.abstain:
        return diagnosis.status == "abstain"
    if case.expect.conflict:
        shown = {candidate.entry.id for candidate in found.candidates}
        return diagnosis.reason == "conflict" and shown == set(case.expect.conflict)
    if diagnosis.status != "ok" or not diagnosis.evidence:
        return False
    return diagnosis.evidence[0].src in _sources(entries, {case.expect.entry})
