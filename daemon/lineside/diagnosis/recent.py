"""What the same device reported shortly before: as evidence, and to order what fits equally well.

Knows nothing of where that is kept. It never turns a conflict into an answer, nor one code into another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.retrieval import Retrieval
from lineside.diagnosis.knowledge.search import SAME
from lineside.diagnosis.order import span
from lineside.diagnosis.phrases import phrase

REF, SOURCE = "H1", "history"
MAX_FAULTS = 3
MAX_AGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that was answered: the entry it was, by citation and id, and when its report came."""

    citation: str
    entry_id: str
    received_at: str


History = Callable[[str], Sequence[Fault]]
"""The last answered faults of a device, latest first. Blocks."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A fault, and how long before the report at hand it was."""

    fault: Fault
    ago_s: float


def earlier(faults: Sequence[Fault], received_at: str) -> tuple[Earlier, ...]:
    """The last few, each entry once at its latest, oldest first; none from before MAX_AGE_S."""
    now_s = _seconds(received_at)
    latest: dict[str, Earlier] = {}
    for fault in faults:
        ago_s = now_s - _seconds(fault.received_at)
        # A clock that was set back makes an age of nothing.
        if 0 <= ago_s <= MAX_AGE_S:
            latest.setdefault(fault.entry_id, Earlier(fault, ago_s))
    return tuple(sorted(latest.values(), key=lambda one: one.ago_s)[:MAX_FAULTS][::-1])


def recent_evidence(found: Sequence[Earlier], language: Language) -> tuple[Evidence, ...]:
    """One statement on what came before, in the order it came."""
    if not found:
        return ()
    parts = [
        phrase("fault_before", language, fault=one.fault.citation, time=span(one.ago_s, language))
        for one in found
    ]
    quote = phrase("earlier", language, faults=phrase("comma", language).join(parts))
    return (Evidence(ref=REF, kind="log", src=SOURCE, quote=quote),)


def in_light_of(retrieval: Retrieval, found: Sequence[Earlier]) -> Retrieval:
    """Of the candidates that fit as well as the first, those of a unit with recent faults first."""
    if not found or not retrieval.candidates:
        return retrieval
    first = retrieval.candidates[0]
    equal = sum(one.by == first.by and first.score - one.score < SAME for one in retrieval.candidates)
    equals = retrieval.candidates[:equal]
    # What the plant itself has confirmed stays before the entry that it is of.
    if any(one.entry.confirmed is not None for one in equals):
        return retrieval
    ordered = sorted(
        equals,
        key=lambda one: not any(_of_unit(one.entry, before.fault) for before in found),
    )
    return replace(retrieval, candidates=(*ordered, *retrieval.candidates[equal:]))


def _of_unit(entry: Entry, fault: Fault) -> bool:
    return bool(entry.unit) and fault.entry_id.startswith(f"{entry.source}:{entry.unit}:")


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp()
