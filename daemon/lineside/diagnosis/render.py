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
    "isolate": ("⚠ lock out first", "⚠先断电上锁"),
    "advisory": ("Advisory: a qualified person decides.", "仅供参考，由具备资质的人员判断。"),
    "confidence": ("confidence", "可信度"),
    "knowledge": ("knowledge", "知识库"),
    "model": ("model", "模型"),
    "seconds": ("s", "秒"),
}
# What a diagnosis says in the words of its schema. An answer of a newer daemon may hold others.
_CHINESE = {
    "critical": "紧急",
    "high": "高",
    "medium": "中",
    "low": "低",
    "inspect": "检查",
    "measure": "测量",
    "reset": "复位",
    "replace": "更换",
    "rules": "规则",
    "abstain": "不作诊断",
    "error": "出错",
    "no_kb_hit": "手册无相符条目",
    "conflict": "多条手册条目相符",
    "low_conf": "把握不足",
    "invalid": "报告无效",
    "too_long": "报告过长",
    "not_found": "未找到",
    "unauthenticated": "未验证身份",
    "forbidden": "无权限",
    "overload": "负载过高",
    "power": "供电受限",
    "deadline": "超出时限",
    "expired": "报告已过期",
    "cancelled": "已取消",
    "draining": "服务正在停止",
    "not_ready": "服务未就绪",
    "engine_fault": "模型引擎故障",
    "storage": "存储故障",
    "poison": "此报告曾使服务中断",
    "internal": "内部错误",
}


def render(diagnosis: Diagnosis) -> RenderableType:
    """Safety first, then what it means, why, what to do, and what that rests on."""
    parts: list[Text] = [_headline(diagnosis)]
    parts += _section(diagnosis, "safety", [_warning(diagnosis, line) for line in diagnosis.safety])
    if diagnosis.meaning:
        parts += [Text(), Text(_clean(diagnosis.meaning))]
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
    line.append(f" {_said(diagnosis, diagnosis.severity).upper()} ", _COLOURS[diagnosis.severity])
    line.append(f" {_clean(diagnosis.dev.id)}", "bold")
    if diagnosis.alarm.code.strip():
        line.append(f"  {_clean(diagnosis.alarm.code)}")
    if diagnosis.status != "ok":
        why = f"{_said(diagnosis, diagnosis.status)}: {_said(diagnosis, diagnosis.reason)}"
        line.append(f"  {why}", "bold magenta")
    return line


def _section(diagnosis: Diagnosis, name: str, lines: list[Text]) -> list[Text]:
    return [Text(), Text(_word(diagnosis, name), "bold underline"), *lines] if lines else []


def _warning(diagnosis: Diagnosis, text: str) -> Text:
    # Lines break at spaces, and a Chinese sentence has none: one here would leave the sign on its own.
    return Text(f"{'！' if diagnosis.lang == 'zh' else '! '}{_clean(text)}", "bold")


def _numbered(diagnosis: Diagnosis, number: int, text: str, refs: tuple[str, ...]) -> Text:
    line = Text(f"{number}{'、' if diagnosis.lang == 'zh' else '. '}{_clean(text)} ")
    return line.append(f"[{', '.join(refs)}]", "cyan")


def _check(diagnosis: Diagnosis, number: int, check: Check) -> Text:
    line = _numbered(diagnosis, number, check.text, check.refs)
    line.append(f" ({_said(diagnosis, check.kind)})", "dim")
    return line.append(f" {_word(diagnosis, 'isolate')}", "bold red") if check.isolate else line


def _evidence(evidence: Evidence) -> Text:
    line = Text(f"{evidence.ref} ", "cyan")
    line.append(f"{_clean(evidence.src)}: ", "dim")
    quote = _clean(evidence.quote)
    bare = evidence.kind == "manual" and not quote.endswith("”")
    return line.append(f"“{quote}”" if bare else quote)


def _footer(diagnosis: Diagnosis) -> list[Text]:
    by = f"{_word(diagnosis, 'model')} {diagnosis.model}" if diagnosis.model else _said(diagnosis, "rules")
    facts = [by, f"{_word(diagnosis, 'confidence')} {diagnosis.conf:.2f}"]
    if diagnosis.kb:
        facts.append(f"{_word(diagnosis, 'knowledge')} {diagnosis.kb}")
    if total_ms := diagnosis.timings.get("total_ms"):
        facts.append(f"{total_ms / 1000:.2f} {_word(diagnosis, 'seconds')}")
    lines = [Text(_word(diagnosis, "advisory"), "italic"), Text(_clean(" · ".join(facts)), "dim")]
    return [Text(_clean(diagnosis.message), "dim"), *lines] if diagnosis.message else lines


def _word(diagnosis: Diagnosis, name: str) -> str:
    return _WORDS[name][diagnosis.lang == "zh"]


def _said(diagnosis: Diagnosis, word: str) -> str:
    """One of the schema's words, as the reader says it."""
    return _CHINESE.get(word, word) if diagnosis.lang == "zh" else word


def _clean(text: str) -> str:
    """No control characters: a report must not be able to steer the terminal."""
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in text).strip()
