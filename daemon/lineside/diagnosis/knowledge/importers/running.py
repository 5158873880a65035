"""Fault codes in running text: a line with code and title, then labelled paragraphs. Knows no file format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers.columns import column_of
from lineside.diagnosis.knowledge.importers.grids import Line
from lineside.diagnosis.knowledge.importers.records import Raw
from lineside.diagnosis.knowledge.terms import has_cjk

# A label stands within so many lines of its code's title, or the line is no title.
MAX_BETWEEN = 4
_WORD = r"(?:alarm|fault|error|warning|code|报警|故障|错误|警报|警告)(?:\s*(?:code|no\.?|number|代码|码|号))?"
# Three digits, or letters and digits; a single number only behind a word, for lists are numbered.
_CODE = r"[A-Z]{1,6}[ _-]?\d[\w.\-]{0,15}|0x[0-9a-f]{2,12}|\d{3,10}(?:[.-]\d+)?"
_HEAD = re.compile(
    rf"(?:{_WORD}\s*[:：#]?\s*(?P<any>[A-Z]{{0,6}}[_-]?\d[\w.\-]{{0,15}})|(?P<code>{_CODE}))"
    r"(?:\s*[:：|]\s*|\s+[-–—]+\s+|\s+|(?=[\u4e00-\u9fff]))(?P<title>\S.{1,200})",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?P<label>[^:：]{1,40})[:：]\s*(?P<rest>.*)")
_ITEM = re.compile(r"(?:[-–*·●▪•○]|\(?\d{1,2}[.)、．）])\s*(?=\S)")
_END = (".", "。", ";", "；", "!", "！")
_PARTS = frozenset({"meaning", "causes", "actions", "safety"})


def running_raws(lines: Sequence[Line]) -> list[Raw]:
    """An entry for each title that labelled paragraphs follow."""
    lines = [line for line in lines if line.text.strip()]
    heads = [(n, head) for n, line in enumerate(lines) if (head := _head(line)) and _is_followed(lines, n)]
    ends = [n for n, _ in heads] + [len(lines)]
    return [_raw(head, lines[n:end]) for (n, head), end in zip(heads, ends[1:], strict=True)]


def _head(line: Line) -> tuple[str, str] | None:
    text = line.text.strip().strip("*# ")
    if line.kind == "item" or _label(line) or not (found := _HEAD.fullmatch(text)):
        return None
    title = found["title"].strip(" *-–—:：")
    named = line.kind == "heading" or bool(found["any"])
    # `F1 fuse is blown` is a sentence; a title begins with a capital or is Chinese.
    if not title or not (named or title[0].isupper() or has_cjk(title[0])):
        return None
    return (found["any"] or found["code"]), title


def _is_followed(lines: Sequence[Line], start: int) -> bool:
    for line in lines[start + 1 : start + 1 + MAX_BETWEEN]:
        if _label(line):
            return True
        if _head(line):
            return False
    return False


def _label(line: Line) -> tuple[str, str] | None:
    """The part that the line begins, and what it already says of it."""
    text = line.text.strip().lstrip("#*- ").replace("**", "")
    found = _LABEL.fullmatch(text)
    label, rest = (found["label"], found["rest"]) if found else (text, "")
    column = column_of(label) if len(label) <= 40 else None
    if column is None or column.field not in _PARTS or not (found or line.kind == "heading" or not rest):
        return None
    return column.field, rest.strip()


def _raw(head: tuple[str, str], block: Sequence[Line]) -> Raw:
    code, title = head
    parts: dict[str, list[str]] = {}
    current = "meaning"
    for line in block[1:]:
        if label := _label(line):
            current = label[0]
            text, fresh = label[1], True
        else:
            text, fresh = line.text.strip(), line.kind == "item"
        if text:
            _add(parts.setdefault(current, []), text, fresh=fresh)
    language: Language = "zh" if has_cjk(title) else "en"
    given = {name: " ".join(found) if name == "meaning" else found for name, found in parts.items()}
    return Raw(block[0].where, {"code": code}, {language: {"title": title, **given}})


def _add(found: list[str], text: str, *, fresh: bool) -> None:
    """A new statement, or the rest of one that the page's width has cut."""
    marked = _ITEM.match(text)
    text = text[marked.end() :] if marked else text
    if marked or fresh or not found or found[-1].endswith(_END):
        found.append(text)
    elif has_cjk(found[-1][-1]) or has_cjk(text[0]):
        found[-1] += text
    else:
        found[-1] += f" {text}"


def markdown_lines(text: str) -> Iterator[Line]:
    """Lines outside of tables."""
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.strip()
        if plain.startswith("|"):
            continue
        kind = "heading" if plain.startswith("#") else "item" if _ITEM.match(plain) else ""
        yield Line(f"{number}", plain.strip("# ") if kind == "heading" else plain, kind)
