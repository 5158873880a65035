"""What a search is asked and what it finds. Knows nothing of how it searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.report import Report

Verdict = Literal["hit", "conflict", "none"]


@dataclass(frozen=True, slots=True)
class Query:
    """What a report says about which fault it is."""

    code: str = ""
    text: str = ""
    vendor: str = ""
    model: str = ""
    unit: str = ""
    fw: str = ""
    code_base: str = ""

    @classmethod
    def of(cls, report: Report) -> Query:
        """The parts of a report that retrieval reads."""
        device, alarm = report.dev, report.alarm
        return cls(
            alarm.code.strip(),
            alarm.text.strip(),
            device.vendor,
            device.model,
            device.unit,
            device.fw,
            device.code_base,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, how well it fits (0 to 1), and by what it was found."""

    entry: Entry
    score: float
    by: Literal["code", "text"]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Candidates, best first: the hit and what else is near, or what collides, or near misses.

    `total` counts the candidates, also those beyond what is shown. `unread`: the best few entries where the
    first is in another language than the text, so that reading them again may tell more.
    """

    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()
    version: str = "0"
    total: int = 0
    unread: tuple[Entry, ...] = ()
