"""Which statements of a diagnosis nothing supports. Knows nothing of how the diagnosis was made.

A second reading, kept apart from the code that writes answers: it takes the finished diagnosis, the entries
that were retrieved, the report and what was known of its device, and asks where each statement is from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lineside.diagnosis.diagnosis import Diagnosis, Evidence
from lineside.diagnosis.evidence import computed_quotes
from lineside.diagnosis.knowledge.entry import Entry, Language, Text
from lineside.diagnosis.order import SOURCE, order_evidence
from lineside.diagnosis.phrases import phrase, phrase_parts
from lineside.diagnosis.recent import SOURCE as HISTORY
from lineside.diagnosis.recent import Earlier, recent_evidence
from lineside.diagnosis.report import Report
from lineside.diagnosis.rules import QUOTE_JOIN, title_in_conflict

_SAFETY = ("safety", "safety_function")
_SAFETY_CHECKS = ("safety_stands", "safety_cause", "safety_test")
_ABSTENTIONS = ("no_hit", "undecided", "error")


class Unsupported(NamedTuple):
    """A statement and the field that it stands in, such as causes[0]."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of the device: its safety notes, and its faults shortly before."""

    notes: tuple[str, ...] = ()
    earlier: tuple[Earlier, ...] = ()


def unsupported(
    diagnosis: Diagnosis, entries: Sequence[Entry], report: Report, known: Known | None = None
) -> list[Unsupported]:
    """The statements that are neither an entry's words nor computed from the report nor fixed.

    Nor the device's notes, nor its earlier faults, as far as they were `known`.
    """
    return list(_Reading(diagnosis, entries, report, known or Known()).run())


def statements(diagnosis: Diagnosis) -> int:
    """How many statements there are to support."""
    parts = (diagnosis.safety, diagnosis.causes, diagnosis.checks, diagnosis.evidence)
    return sum(map(len, parts)) + bool(diagnosis.meaning)


class _Reading:
    def __init__(self, diagnosis: Diagnosis, entries: Sequence[Entry], report: Report, known: Known) -> None:
        self._diagnosis = diagnosis
        self._language: Language = "zh" if diagnosis.lang == "zh" else "en"
        self._entries = entries
        self._report = report
        self._known_of_device = known
        self._evidence = {evidence.ref: evidence for evidence in diagnosis.evidence}

    def run(self) -> Iterator[Unsupported]:
        found = self._diagnosis
        supported = {
            *self._said(_SAFETY),
            *_all(self._entries, "safety"),
            *self._known_of_device.notes,
        }
        for n, line in enumerate(found.safety):
            if line not in supported:
                yield Unsupported(f"safety[{n}]", line)
        if found.meaning and not self._means(found.meaning):
            yield Unsupported("meaning", found.meaning)
        for n, cause in enumerate(found.causes):
            if not self._cited(cause.text, cause.refs, "causes", computed=True):
                yield Unsupported(f"causes[{n}]", cause.text)
        for n, check in enumerate(found.checks):
            fixed = check.text in self._said(_SAFETY_CHECKS) and check.refs and self._known(check.refs)
            if not fixed and not self._cited(check.text, check.refs, "actions"):
                yield Unsupported(f"checks[{n}]", check.text)
        for n, evidence in enumerate(found.evidence):
            if not self._quoted(evidence):
                yield Unsupported(f"evidence[{n}]", evidence.quote)

    def _said(self, names: Iterable[str]) -> list[str]:
        return [phrase(name, self._language) for name in names]

    def _known(self, refs: Sequence[str]) -> bool:
        return all(ref in self._evidence for ref in refs)

    def _cited(self, text: str, refs: Sequence[str], part: str, *, computed: bool = False) -> bool:
        """Whether every reference is to evidence that says so."""
        return (
            bool(refs)
            and self._known(refs)
            and all(
                text in _all(self._sources(self._evidence[ref]), part)
                or (
                    computed
                    and self._evidence[ref].kind in ("sensor", "log")
                    and text == self._evidence[ref].quote
                )
                for ref in refs
            )
        )

    def _sources(self, evidence: Evidence) -> list[Entry]:
        if evidence.kind not in ("manual", "confirmed"):
            return []
        return [entry for entry in self._entries if entry.citation == evidence.src]

    def _quoted(self, evidence: Evidence) -> bool:
        if evidence.src == HISTORY:
            return (evidence,) == recent_evidence(self._known_of_device.earlier, self._language)
        if evidence.src == SOURCE:
            others = (one for one in self._diagnosis.evidence if one is not evidence)
            logs = [one for one in others if one.kind == "log" and one.src != HISTORY]
            return (evidence,) == order_evidence(self._report, logs, self._language)
        if evidence.kind in ("sensor", "log"):
            return evidence.quote in computed_quotes(self._report, self._language)
        return any(self._quotes(entry, evidence.quote) for entry in self._sources(evidence))

    def _quotes(self, entry: Entry, said: str) -> bool:
        """Whether it is the entry's words, within the marks that they are to have."""
        if entry.confirmed is not None:
            mark = phrase("confirmed", self._language, date=entry.confirmed.at[:10], quote="")
            if not said.startswith(mark):
                return False
            said = said.removeprefix(mark)
        before, after = phrase_parts("quoted", self._language)
        quote = said.removeprefix(before)
        quote = quote.removesuffix(after) if quote != said else quote
        return any(_holds(text, quote) for text in entry.texts)

    def _means(self, meaning: str) -> bool:
        if self._diagnosis.status != "ok":
            return meaning in self._said(_ABSTENTIONS) or self._names_conflict(meaning)
        cited = [entry for evidence in self._diagnosis.evidence for entry in self._sources(evidence)]
        return any(_is_meaning(meaning, text) for entry in cited for text in entry.texts)

    def _names_conflict(self, meaning: str) -> bool:
        """Nothing is left of it but the frame, once the entries' names are taken away."""
        before, after = phrase_parts("conflict", self._language)
        if not meaning.startswith(before):
            return False
        titles = meaning.removeprefix(before).removesuffix(after)
        names = [title_in_conflict(entry, text) for entry in self._entries for text in entry.texts]
        return all(_begins(part, names) for part in titles.removesuffix("…").split("; ")) or not titles


def _all(entries: Iterable[Entry], part: str) -> list[str]:
    return [said for entry in entries for text in entry.texts for said in getattr(text, part)]


def _begins(part: str, names: Sequence[str]) -> bool:
    """A name, a piece of one that holds the separator itself, or one that was cut short."""
    return any(part in name for name in names)


def _holds(text: Text, quote: str) -> bool:
    """Whether the quote is made of the text's own parts, the last of them cut short at most."""
    own = (text.title, text.meaning, *text.causes, *text.actions, *text.safety)
    whole = QUOTE_JOIN.join(own)
    return all(part in whole for part in quote.removesuffix("…").split(QUOTE_JOIN))


def _is_meaning(meaning: str, text: Text) -> bool:
    """The title, alone or with sentences of the entry's meaning behind it."""
    if not meaning.startswith(text.title):
        return False
    rest = meaning.removeprefix(text.title).lstrip(".。 ")
    return rest in text.meaning or all(part in text.meaning for part in _sentences(rest))


def _sentences(text: str) -> list[str]:
    return [
        part.strip() for part in text.replace("。", "。\n").replace(". ", ".\n").splitlines() if part.strip()
    ]
