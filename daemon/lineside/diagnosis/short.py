"""A diagnosis in few bytes: for a controller's string, and as a message for people.

Safety comes first and is cut last: where any of it is cut, nothing else is left. Knows nothing of transports.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis, SeverityName
from lineside.diagnosis.said import clean, said, word

MAX_BRIEF_BYTES = 240
MAX_TEXT_BYTES = 600
# What a sender chooses must not push safety out.
CODE_BYTES = 32
DEVICE_BYTES = 96
# A shorter piece of a sentence says nothing.
LEAST_BYTES = 24
MORE = "…"

Size = Callable[[str], int]


class Brief(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A diagnosis for a controller, version 1: flat, 240 bytes at most; texts that end in … were cut.

    `st` is ok, or the reason why there is no diagnosis; `do` the first check, `mean` and `cause` what it is.
    What has no room is not there.
    """

    v: Literal[1]
    st: str
    code: str
    sev: SeverityName
    safe: str
    mean: str = ""
    do: str = ""
    cause: str = ""


def encode_brief(diagnosis: Diagnosis) -> bytes:
    """The JSON document, in at most MAX_BRIEF_BYTES."""
    code = fit(clean(diagnosis.alarm.code), CODE_BYTES, _in_json)
    brief = Brief(v=1, st=diagnosis.reason or diagnosis.status, code=code, sev=diagnosis.severity, safe="")
    whole = _joined(diagnosis.safety)
    safe = fit(whole, MAX_BRIEF_BYTES - len(msgspec.json.encode(brief)), _in_json)
    brief = msgspec.structs.replace(brief, safe=safe)
    if safe != whole:
        return msgspec.json.encode(brief)
    for name, shown in (("mean", _meaning), ("do", _first_check), ("cause", _first_cause)):
        key_bytes = len(f',"{name}":""')
        room = MAX_BRIEF_BYTES - len(msgspec.json.encode(brief)) - key_bytes
        brief = msgspec.structs.replace(brief, **{name: shown(diagnosis, room, _in_json)})
    return msgspec.json.encode(brief)


def summary(diagnosis: Diagnosis) -> str:
    """Some lines for people, in at most MAX_TEXT_BYTES of UTF-8."""
    last = word(diagnosis, "advisory")
    lines = [_headline(diagnosis)]
    whole = ("！" if diagnosis.lang == "zh" else "! ") + _joined(diagnosis.safety)
    lines.append(fit(whole, _left(*lines, last), _in_utf8))
    if lines[-1] == whole:
        lines += _after_safety(diagnosis, _left(*lines, last))
    return "\n".join((*lines, last))


def _left(*lines: str) -> int:
    """Bytes that are left for one more line."""
    return MAX_TEXT_BYTES - _in_utf8("\n".join(lines)) - 1


def _after_safety(diagnosis: Diagnosis, room: int) -> list[str]:
    """The most useful first; what has no room is left out."""
    checks = [partial(_check, number=number) for number in range(1, len(diagnosis.checks) + 1)]
    shown: list[Callable[[Diagnosis, int, Size], str]] = [_meaning, _first_cause, *checks]
    lines: list[str] = []
    for line in shown:
        if text := line(diagnosis, room, _in_utf8):
            lines.append(text)
            room -= _in_utf8(text) + 1
    return lines


def fit(text: str, room: int, size: Size) -> str:
    """`text` in at most `room` bytes; a cut ends in …, and never between a sign and its accents."""
    if size(text) <= room:
        return text
    room -= size(MORE)
    kept = 0
    for sign in text:
        room -= size(sign)
        if room < 0:
            break
        kept += 1
    while kept and unicodedata.combining(text[kept]):
        kept -= 1
    return text[:kept].rstrip() + MORE if kept else ""


def piece(text: str, room: int, size: Size) -> str:
    """The same; nothing where too little of it would be left to say anything."""
    return fit(text, room, size) if size(text) <= room or room >= LEAST_BYTES else ""


def _in_utf8(text: str) -> int:
    return len(text.encode())


def _in_json(text: str) -> int:
    return len(msgspec.json.encode(text)) - 2


def _joined(safety: tuple[str, ...]) -> str:
    return " ".join(clean(line) for line in safety)


def _meaning(diagnosis: Diagnosis, room: int, size: Size) -> str:
    """What is wrong with a report is its sender's to know."""
    failed = diagnosis.status == "error" and diagnosis.message
    return piece(clean(diagnosis.message if failed else diagnosis.meaning), room, size)


def _first_cause(diagnosis: Diagnosis, room: int, size: Size) -> str:
    if not diagnosis.causes:
        return ""
    heading = f"{word(diagnosis, 'cause')}{_colon(diagnosis)}" if size is _in_utf8 else ""
    return piece(clean(heading + diagnosis.causes[0].text), room, size)


def _first_check(diagnosis: Diagnosis, room: int, size: Size) -> str:
    return _check(diagnosis, room, size, number=0)


def _check(diagnosis: Diagnosis, room: int, size: Size, *, number: int) -> str:
    """Whole or not at all: an instruction that is cut may say something else. 0: the first, unnumbered."""
    if not diagnosis.checks:
        return ""
    check = diagnosis.checks[max(number - 1, 0)]
    lock = f"{word(diagnosis, 'isolate')}{_colon(diagnosis)}" if check.isolate else ""
    before = "" if not number else f"{number}{'、' if diagnosis.lang == 'zh' else '. '}"
    text = before + lock + clean(check.text)
    return text if size(text) <= room else ""


def _colon(diagnosis: Diagnosis) -> str:
    return "：" if diagnosis.lang == "zh" else ": "


def _headline(diagnosis: Diagnosis) -> str:
    device = fit(clean(diagnosis.dev.id), DEVICE_BYTES, _in_utf8)
    code = fit(clean(diagnosis.alarm.code), CODE_BYTES, _in_utf8)
    why = "" if diagnosis.status == "ok" else f"({said(diagnosis, diagnosis.reason or diagnosis.status)})"
    return " ".join(part for part in (said(diagnosis, diagnosis.severity).upper(), device, code, why) if part)
