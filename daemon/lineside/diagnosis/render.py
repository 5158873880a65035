"""A diagnosis for a person at a terminal. Knows nothing of how it was found."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from lineside.diagnosis.diagnosis import Check, Diagnosis, Evidence
from lineside.diagnosis.said import clean, said, word

_COLOURS = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "green"}


def render(diagnosis: Diagnosis) -> RenderableType:
    """Safety first, then what it means, why, what to do, and what that rests on."""
    parts: list[Text] = [_headline(diagnosis)]
    parts += _section(diagnosis, "safety", [_warning(diagnosis, line) for line in diagnosis.safety])
    if diagnosis.meaning:
        parts += [Text(), Text(clean(diagnosis.meaning))]
    causes = [_numbered(diagnosis, n, cause.text, cause.refs) for n, cause in enumerate(diagnosis.causes, 1)]
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


def _headline(diagnosis: Diagnosis) -> Text:
    line = Text()
    line.append(f" {said(diagnosis, diagnosis.severity).upper()} ", _COLOURS[diagnosis.severity])
    line.append(f" {clean(diagnosis.dev.id)}", "bold")
    if diagnosis.alarm.code.strip():
        line.append(f"  {clean(diagnosis.alarm.code)}")
    if diagnosis.status != "ok":
        why = f"{said(diagnosis, diagnosis.status)}: {said(diagnosis, diagnosis.reason)}"
        line.append(f"  {why}", "bold magenta")
    return line


def _section(diagnosis: Diagnosis, name: str, lines: list[Text]) -> list[Text]:
    return [Text(), Text(word(diagnosis, name), "bold underline"), *lines] if lines else []


def _warning(diagnosis: Diagnosis, text: str) -> Text:
    # Lines break at spaces, and a Chinese sentence has none: one here would leave the sign on its own.
    return Text(f"{'！' if diagnosis.lang == 'zh' else '! '}{clean(text)}", "bold")


def _numbered(diagnosis: Diagnosis, number: int, text: str, refs: tuple[str, ...]) -> Text:
    line = Text(f"{number}{'、' if diagnosis.lang == 'zh' else '. '}{clean(text)} ")
    return line.append(f"[{', '.join(refs)}]", "cyan")


def _check(diagnosis: Diagnosis, number: int, check: Check) -> Text:
    line = _numbered(diagnosis, number, check.text, check.refs)
    line.append(f" ({said(diagnosis, check.kind)})", "dim")
    return line.append(f" {word(diagnosis, 'isolate')}", "bold red") if check.isolate else line


def _evidence(evidence: Evidence) -> Text:
    line = Text(f"{evidence.ref} ", "cyan")
    line.append(f"{clean(evidence.src)}: ", "dim")
    quote = clean(evidence.quote)
    bare = evidence.kind == "manual" and not quote.endswith("”")
    return line.append(f"“{quote}”" if bare else quote)


def _footer(diagnosis: Diagnosis) -> list[Text]:
    by = [] if diagnosis.mode == "model" else [said(diagnosis, "rules")]
    by += [f"{word(diagnosis, 'model')} {diagnosis.model}"] if diagnosis.model else []
    facts = [*by, f"{word(diagnosis, 'confidence')} {diagnosis.conf:.2f}"]
    if diagnosis.kb:
        facts.append(f"{word(diagnosis, 'knowledge')} {diagnosis.kb}")
    if total_ms := diagnosis.timings.get("total_ms"):
        facts.append(f"{total_ms / 1000:.2f} {word(diagnosis, 'seconds')}")
    lines = [Text(word(diagnosis, "advisory"), "italic"), Text(clean(" · ".join(facts)), "dim")]
    return [Text(clean(diagnosis.message), "dim"), *lines] if diagnosis.message else lines
