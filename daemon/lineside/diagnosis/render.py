"""A diagnosis for a person at a terminal. Knows nothing of how it was found."""

from __future__ import annotations

import unicodedata

from rich.console import Group, RenderableType
from rich.text import Text

from lineside.diagnosis.diagnosis import Check, Diagnosis, Evidence

_COLOURS = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "green"}
_WORDS = {
    "safety": ("Safety", "安全"),
    "causes": ("Possible causes", "可能原因"),
    "checks": ("Checks", "检查步骤"),
    "evidence": ("Evidence", "依据"),
    "isolate": ("lock out first", "先断电上锁"),
    "advisory": ("Advisory: a qualified person decides.", "仅供参考，由具备资质的人员判断。"),
}


def render(diagnosis: Diagnosis) -> RenderableType:
    """Safety first, then what it means, why, what to do, and what that rests on."""
    parts: list[Text] = [_headline(diagnosis)]
    parts += _section(diagnosis, "safety", [Text(f"! {_clean(line)}", "bold") for line in diagnosis.safety])
    if diagnosis.meaning:
        parts += [Text(), Text(_clean(diagnosis.meaning))]
    causes = [_numbered(n, cause.text, cause.refs) for n, cause in enumerate(diagnosis.causes, 1)]
    parts += _section(diagnosis, "causes", causes)
    parts += _section(
        diagnosis, "checks", [_check(diagnosis, n, c) for n, c in enumerate(diagnosis.checks, 1)]
    )
    parts += _section(diagnosis, "evidence", [_evidence(evidence) for evidence in diagnosis.evidence])
    parts += [Text(), *_footer(diagnosis)]
    return Group(*parts)


def render_text(diagnosis: Diagnosis) -> str:
    """The same without colour, lines of any length."""
    group = render(diagnosis)
    assert isinstance(group, Group)
    return "\n".join(part.plain for part in group.renderables if isinstance(part, Text)) + "\n"


def summary(diagnosis: Diagnosis) -> str:
    """One line."""
    parts = [diagnosis.dev.id, diagnosis.alarm.code.strip(), f"[{diagnosis.severity}]"]
    if diagnosis.status != "ok":
        parts.append(f"{diagnosis.status} ({diagnosis.reason}):")
    parts.append(diagnosis.message if diagnosis.status == "error" else diagnosis.meaning)
    if diagnosis.causes:
        parts.append(f"| {diagnosis.causes[0].text}")
    return _clean(" ".join(part for part in parts if part))


def _headline(diagnosis: Diagnosis) -> Text:
    line = Text()
    line.append(f" {diagnosis.severity.upper()} ", _COLOURS[diagnosis.severity])
    line.append(f" {_clean(diagnosis.dev.id)}", "bold")
    if diagnosis.alarm.code.strip():
        line.append(f"  {_clean(diagnosis.alarm.code)}")
    if diagnosis.status != "ok":
        line.append(f"  {diagnosis.status}: {diagnosis.reason}", "bold magenta")
    return line


def _section(diagnosis: Diagnosis, name: str, lines: list[Text]) -> list[Text]:
    return [Text(), Text(_word(diagnosis, name), "bold underline"), *lines] if lines else []


def _numbered(number: int, text: str, refs: tuple[str, ...]) -> Text:
    line = Text(f"{number}. {_clean(text)} ")
    return line.append(f"[{', '.join(refs)}]", "cyan")


def _check(diagnosis: Diagnosis, number: int, check: Check) -> Text:
    line = _numbered(number, check.text, check.refs).append(f" ({check.kind})", "dim")
    return line.append(f" ⚠ {_word(diagnosis, 'isolate')}", "bold red") if check.isolate else line


def _evidence(evidence: Evidence) -> Text:
    line = Text(f"{evidence.ref} ", "cyan")
    line.append(f"{_clean(evidence.src)}: ", "dim")
    return line.append(f"“{_clean(evidence.quote)}”" if evidence.kind == "manual" else _clean(evidence.quote))


def _footer(diagnosis: Diagnosis) -> list[Text]:
    by = f"{diagnosis.mode}{f' {diagnosis.model}' if diagnosis.model else ''}"
    facts = [by, f"conf {diagnosis.conf:.2f}"]
    if diagnosis.kb:
        facts.append(f"kb {diagnosis.kb}")
    facts += [
        f"{name[:-3]} {value:.0f} ms" for name, value in diagnosis.timings.items() if name.endswith("_ms")
    ]
    lines = [Text(_word(diagnosis, "advisory"), "italic"), Text(_clean(" · ".join(facts)), "dim")]
    return [Text(_clean(diagnosis.message), "dim"), *lines] if diagnosis.message else lines


def _word(diagnosis: Diagnosis, name: str) -> str:
    return _WORDS[name][diagnosis.lang == "zh"]


def _clean(text: str) -> str:
    """No control characters: a report must not be able to steer the terminal."""
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in text).strip()
