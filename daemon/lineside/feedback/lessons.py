"""From an approved verdict to an entry of the plant's own. Knows nothing of screens or wires."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.curation import confirm
from lineside.diagnosis.knowledge.entry import MAX_ITEMS, PLANT_SOURCE, Confirmation, Entry, Language, Text
from lineside.diagnosis.knowledge.terms import has_cjk
from lineside.diagnosis.knowledge.writing import read_all
from lineside.diagnosis.work import addresses_reader, is_safety_function, may_be_suggested
from lineside.errors import LinesideError
from lineside.feedback.store import Case, Decision, FeedbackStore, already_decided
from lineside.feedback.verdict import Person

OPERATION = "approve verdict"


class Learnt(NamedTuple):
    """The entry that a verdict became, and the knowledge base's version with it."""

    entry: Entry
    version: str


def approve(store: FeedbackStore, knowledge: Path, case: Case, by: Person, at: str) -> Learnt:
    """Let the plant learn it. What ends between the two writes is approved again, to the same entry."""
    if case.state != "pending":
        raise already_decided(case)
    entries = read_all(knowledge).entries
    lesson = lesson_of(case, entries, Confirmation(by=by.shown[:128], at=at, verdict=case.id))
    version = confirm(knowledge, lesson).version
    store.decide(case, "approved", Decision(by=by, at=at, entry=lesson.id))
    return Learnt(lesson, version)


def lesson_of(case: Case, entries: Iterable[Entry], confirmed: Confirmation) -> Entry:
    """What a verdict adds to `entries`, together with what the plant knew of the same fault before."""
    known = {entry.id: entry for entry in entries}
    about = _about(case, known)
    said = _said(case)
    _check(said, safety_function=about is not None and is_safety_function(about))
    device, alarm = case.issued.report.dev, case.issued.report.alarm
    vendor, model = (
        device.vendor or (about.vendor if about else ""),
        device.model or (about.model if about else ""),
    )
    lesson = Entry(
        source=PLANT_SOURCE,
        code=(about.code if about else "") or alarm.code.strip() or f"text {case.id}",
        unit=about.unit if about else device.unit,
        vendor=vendor,
        model=model,
        variant=" ".join(part for part in (vendor, model) if part)[:128],
        confirmed=confirmed,
        severity=about.severity if about else None,
    )
    language: Language = "zh" if has_cjk("".join((*said.causes, *said.actions))) else "en"
    title = (about.text(language).title if about else "") or alarm.text.strip()[:500] or alarm.code.strip()
    text = msgspec.structs.replace(said, title=title)
    return _merged(lesson, known.get(lesson.id), language, text)


def _about(case: Case, known: dict[str, Entry]) -> Entry | None:
    """The manual's entry for the fault: the cited one, unless it was wrong and not found by its code."""
    cited = [known[one] for one in case.issued.entries if one in known and known[one].confirmed is None]
    if case.issued.diagnosis.status != "ok" or not cited:
        return None
    asked = {key for key, _ in code_keys(case.issued.report.alarm.code)}
    by_code = bool(asked & {key for key, _ in code_keys(cited[0].code)})
    return cited[0] if by_code or case.feedback.verdict == "right" else None


def _said(case: Case) -> Text:
    """The verdict's own words; where it is right and adds none, the one cause that it confirms."""
    feedback, given = case.feedback, case.issued.diagnosis.causes
    cause = feedback.cause
    if feedback.verdict == "right" and not cause and len(given) == 1:
        cause = given[0].text
    if feedback.verdict == "wrong" and not cause and not feedback.action:
        message = f"{case.id} says neither what it was nor what helped: there is nothing to learn from it"
        raise LinesideError(OPERATION, message, "reject it, or ask for a verdict with --cause or --action")
    return Text(
        title="-",
        causes=(cause,) if cause else (),
        actions=(feedback.action,) if feedback.action else (),
    )


def _check(said: Text, *, safety_function: bool) -> None:
    """Nothing is learnt that an answer may not say."""
    for sentence in (*said.causes, *said.actions):
        if addresses_reader(sentence) or not may_be_suggested(sentence, safety_function=safety_function):
            message = (
                f"{sentence!r} may not be suggested: it defeats a protection, or is no word on the fault"
            )
            raise LinesideError(OPERATION, message, "reject it, and ask for a verdict in other words")


def _merged(lesson: Entry, before: Entry | None, language: Language, text: Text) -> Entry:
    """The newest first, each sentence once; nothing that was learnt before is lost until the bound."""
    texts = {name: getattr(before, name, None) for name in ("en", "zh")}
    old = texts[language]
    if old is not None:
        text = msgspec.structs.replace(
            text, causes=_joined(text.causes, old.causes), actions=_joined(text.actions, old.actions)
        )
    return msgspec.structs.replace(lesson, **{**texts, language: text})


def _joined(new: tuple[str, ...], old: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*new, *old)))[:MAX_ITEMS]
