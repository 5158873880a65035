"""A diagnosis from retrieval alone: the manual's own words, and what code can decide. Knows no models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lineside.diagnosis.diagnosis import Cause, Check, Evidence, SeverityName, Status, WorkOrder
from lineside.diagnosis.evidence import log_evidence, sensor_evidence
from lineside.diagnosis.knowledge.entry import Entry, Language, Text
from lineside.diagnosis.knowledge.retrieval import Retrieval
from lineside.diagnosis.options import Option, options_of
from lineside.diagnosis.order import order_evidence
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.ranking import ranked
from lineside.diagnosis.report import Report
from lineside.diagnosis.work import (
    kind_of,
    names_safety_function,
    needs_isolation,
)
from lineside.errors import Reason

SEVERITIES: tuple[SeverityName, ...] = ("low", "medium", "high", "critical")
# Nobody said how bad it is: neither the entry nor the report.
UNKNOWN_SEVERITY: SeverityName = "medium"
_PRIORITIES = {"critical": 1, "high": 2, "medium": 3, "low": 4}
MAX_QUOTE = 400
QUOTE_JOIN = " / "
MAX_TITLE = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a diagnosis that is about the fault, not about the exchange."""

    status: Status
    reason: Reason | None
    severity: SeverityName
    safety: tuple[str, ...]
    meaning: str
    evidence: tuple[Evidence, ...]
    causes: tuple[Cause, ...] = ()
    checks: tuple[Check, ...] = ()
    conf: float = 0.0
    wo: WorkOrder | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody who read the options decided. Empty: the manual's order stands."""

    option: int = 0
    causes: Sequence[int] = ()
    checks: Sequence[int] = ()
    severity: SeverityName | None = None
    conf: float | None = None


def considered(report: Report, retrieval: Retrieval, language: Language) -> tuple[Option, ...]:
    """The retrieved entries as K1, K2, ..., with their causes in the order that the report speaks for."""
    options = options_of(retrieval, language)
    return ranked(options, report, findings_of(report, options, language))


def findings_of(report: Report, options: Sequence[Option], language: Language) -> tuple[Evidence, ...]:
    """What the report itself shows: S for readings, L for log lines that say of the options, O for order."""
    logs = log_evidence(report, [option.entry for option in options])
    return (*sensor_evidence(report, language), *logs, *order_evidence(report, logs, language))


def severity_floor(report: Report, entries: Sequence[Entry]) -> SeverityName:
    """The worst that the entries and the report's OPC UA severity say."""
    said = [entry.severity for entry in entries if entry.severity is not None]
    if report.alarm.sev is not None:
        said.append(_from_opc_ua(report.alarm.sev))
    return max(said, key=SEVERITIES.index, default=UNKNOWN_SEVERITY)


def answer_by_rules(report: Report, retrieval: Retrieval, language: Language) -> Answer:
    """The answer where no model takes part."""
    options = considered(report, retrieval, language)
    if retrieval.verdict == "hit":
        return answer_of(report, options, language, Choice())
    return abstention(report, options if retrieval.verdict == "conflict" else (), language, retrieval.verdict)


def answer_of(report: Report, options: Sequence[Option], language: Language, choice: Choice) -> Answer:
    """The answer that cites the chosen option; the other ones stay visible as evidence."""
    chosen = options[choice.option]
    spoken = [chosen, *_behind(chosen, options)]
    guarded = any(option.safety_function for option in spoken)
    floor = severity_floor(report, [option.entry for option in spoken])
    severity = max(floor, choice.severity or floor, key=SEVERITIES.index)
    first = [chosen, *(option for option in options if option is not chosen)]
    return Answer(
        status="ok",
        reason=None,
        severity=severity,
        safety=_safety(spoken, language, guarded=guarded),
        meaning=_meaning(spoken[-1], language),
        causes=() if guarded else _causes(spoken, choice),
        checks=_safety_checks(chosen, language) if guarded else _checks(spoken, choice),
        evidence=(*_manual_evidence(first, language), *findings_of(report, options, language)),
        conf=chosen.score if choice.conf is None else choice.conf,
        wo=_work_order(report, chosen.text.title, severity),
    )


def abstention(
    report: Report,
    options: Sequence[Option],
    language: Language,
    why: Literal["none", "conflict", "low_conf"],
) -> Answer:
    """Say what is known and that it is not enough. No cause and no check: a guess sends people astray."""
    entries = [option.entry for option in options]
    safety = [phrase("safety", language)]
    if names_safety_function(report.alarm.text) or any(option.safety_function for option in options):
        safety.insert(0, phrase("safety_function", language))
    reasons = {"none": Reason.NO_KB_HIT, "conflict": Reason.CONFLICT, "low_conf": Reason.LOW_CONF}
    texts = {"none": "no_hit", "conflict": "conflict", "low_conf": "undecided"}
    titles = "; ".join(title_in_conflict(option.entry, option.text) for option in options)
    return Answer(
        status="abstain",
        reason=reasons[why],
        severity=severity_floor(report, entries if why == "conflict" else []),
        safety=tuple(safety),
        meaning=_bounded(phrase(texts[why], language, titles=titles), MAX_QUOTE * 2),
        evidence=(*_manual_evidence(options, language), *findings_of(report, options, language)),
    )


def title_in_conflict(entry: Entry, text: Text) -> str:
    """How one of several entries that fit is named."""
    return f"{entry.citation} {text.title}"


def _from_opc_ua(severity: int) -> SeverityName:
    if severity > 800:
        return "critical"
    if severity > 600:
        return "high"
    return "medium" if severity > 300 else "low"


def _meaning(option: Option, language: Language) -> str:
    title = option.text.title
    if not option.meaning:
        return title
    stop = "" if title.endswith((".", "。", "!", "！")) else ("。" if language == "zh" else ".")
    return f"{title}{stop}{'' if stop == '。' else ' '}{option.meaning}"


def _behind(chosen: Option, options: Sequence[Option]) -> list[Option]:
    """The manual's entry for what the plant has confirmed: it goes on being said, after the plant's own."""
    if chosen.entry.confirmed is None:
        return []
    same = (option for option in options if option.entry.code == chosen.entry.code)
    return [option for option in same if option.entry.confirmed is None][:1]


def _safety(spoken: Sequence[Option], language: Language, *, guarded: bool) -> tuple[str, ...]:
    if guarded:
        return phrase("safety_function", language), phrase("safety", language)
    own = dict.fromkeys(line for option in spoken for line in option.safety)
    return tuple(own) or (phrase("safety", language),)


def _safety_checks(option: Option, language: Language) -> tuple[Check, ...]:
    """The same for every safety function, whatever its manual says."""
    return tuple(
        Check(text=phrase(name, language), kind="inspect", isolate=isolate, refs=(option.ref,))
        for name, isolate in (("safety_stands", False), ("safety_cause", False), ("safety_test", True))
    )


def _causes(spoken: Sequence[Option], choice: Choice) -> tuple[Cause, ...]:
    """The entries' sentences, the first one's in the chosen order; what two say is said once, citing both."""
    refs: dict[str, list[str]] = {}
    for n, option in enumerate(spoken):
        for index in _order(len(option.causes), () if n else choice.causes):
            refs.setdefault(option.causes[index], []).append(option.ref)
    return tuple(Cause(text=text, refs=tuple(dict.fromkeys(cited))) for text, cited in refs.items())


def _checks(spoken: Sequence[Option], choice: Choice) -> tuple[Check, ...]:
    safety = tuple(line for option in spoken for line in option.text.safety)
    refs: dict[str, list[str]] = {}
    for n, option in enumerate(spoken):
        for index in _order(len(option.actions), () if n else choice.checks):
            refs.setdefault(option.actions[index], []).append(option.ref)
    return tuple(
        Check(
            text=action,
            kind=kind_of(action),
            isolate=needs_isolation(action, safety),
            refs=tuple(dict.fromkeys(cited)),
        )
        for action, cited in refs.items()
    )


def _order(count: int, first: Sequence[int]) -> list[int]:
    """The chosen ones, then the others as the manual has them: ranking drops nothing."""
    return list(dict.fromkeys([*first, *range(count)]))


def _manual_evidence(options: Sequence[Option], language: Language) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            ref=option.ref, kind=option.entry.kind, src=option.entry.citation, quote=_quote(option, language)
        )
        for option in options
    )


def _quote(option: Option, language: Language) -> str:
    """The entry's own words. What may not be suggested is shown here, plainly marked as a quotation."""
    text = option.text
    withheld = [action for action in text.actions if action not in option.actions]
    withheld += [line for line in text.safety if line not in option.safety]
    parts = (text.title, text.meaning, *text.causes, *withheld)
    quote = _bounded(QUOTE_JOIN.join(part for part in parts if part), MAX_QUOTE)
    whole = not withheld and option.meaning == text.meaning.strip() and set(option.causes) == set(text.causes)
    quote = quote if whole else phrase("quoted", language, quote=quote)
    confirmed = option.entry.confirmed
    return quote if confirmed is None else phrase("confirmed", language, date=confirmed.at[:10], quote=quote)


def _work_order(report: Report, title: str, severity: SeverityName) -> WorkOrder:
    parts = (report.dev.id, report.alarm.code.strip(), title)
    return WorkOrder(
        title=_bounded(" ".join(part for part in parts if part), MAX_TITLE), prio=_PRIORITIES[severity]
    )


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
