"""Fault codes as keys, so that spellings of one code meet. Knows nothing of entries or of storage."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# Words that name no code: "Error 32", "ALM0017", 报警号 5. A longer word stands before its beginning.
_GENERIC = (
    *("FAULTCODE", "ALARMCODE", "ERRORCODE", "WARNING", "FEHLER", "ALARM", "ERROR", "FAULT", "CODE", "WARN"),
    *("ALM", "ERR", "NO", "NR"),
    *(
        "故障代码",
        "报警代码",
        "错误代码",
        "报警号",
        "故障码",
        "错误码",
        "报警",
        "故障",
        "警报",
        "错误",
        "警告",
        "代码",
    ),
)
# One letter, or AL and ER, in front of a number: often the kind of message, not part of the code.
_LETTER = re.compile(r"(?:AL|ER|[AEFW])(?=\d)")
_HEX = re.compile(r"(?:0X|16#|&H|\$)([0-9A-F]+)|([0-9][0-9A-F]*)H(?![0-9A-Z])")
# What only begins like one, such as the code 0X, is not.
_HEX_KEY = re.compile(r"0X([0-9A-F]+)")
_BARE_HEX = re.compile(r"(?=.*\d[A-F]|[A-F]{2})(?=.*\d)[0-9A-F]{3,8}")
_GROUP = re.compile(r"\d+|[^\W\d_]+")

MAX_CODE = 64
EXACT, WORDLESS, VALUE, LAST = 0, 1, 2, 3


class CodeKey(NamedTuple):
    """A spelling that no longer shows case, separators or zeros. A smaller rank is the nearer reading."""

    key: str
    rank: int


def code_keys(code: str, base: str = "") -> tuple[CodeKey, ...]:
    """Every reading of `code`, nearest first; none where it holds no letter or digit.

    A number marked as hexadecimal is also known by its value. Bare digits are decimal, unless the device's
    entry says otherwise (`base`): hex reads them as hexadecimal, any as that where no decimal code is known.
    """
    text = unicodedata.normalize("NFKC", code[:MAX_CODE]).upper().strip()
    ranked: dict[str, int] = {}
    for rank, spelling in enumerate(_spellings(text)):
        key = _hexadecimal(spelling) or _compact(spelling)
        if key.isdecimal() and base in ("hex", "any"):
            for other, nearness in _bare_digits(key, base, rank).items():
                ranked.setdefault(other, nearness)
        elif key:
            ranked.setdefault(key, rank)
            if value := _value(key, spelling):
                ranked.setdefault(value, VALUE)
    return tuple(sorted((CodeKey(key, rank) for key, rank in ranked.items()), key=lambda found: found.rank))


def _bare_digits(digits: str, base: str, rank: int) -> dict[str, int]:
    """Digits that may be meant as hexadecimal: that reading first or last, as the device's entry says."""
    marked, value = f"0X{digits}", str(int(digits, 16))
    if base == "hex":
        return {marked: rank, value: max(rank, VALUE), digits: LAST}
    return {digits: rank, marked: LAST, value: LAST}


def _spellings(text: str) -> tuple[str, str, str]:
    """As written, without the words around it, and without the display's letter."""
    wordless = text
    while (shorter := _without_word(wordless)) != wordless:
        wordless = shorter
    letter = _LETTER.match(_compact(wordless))
    bare = _compact(wordless)[letter.end() :] if letter else wordless
    return text, wordless, bare if bare.replace(".", "").isdigit() else wordless


def _without_word(text: str) -> str:
    text = text.strip(" :#.-_/,()[]：，。（）")
    for word in _GENERIC:
        rest = text[len(word) :]
        if text.startswith(word) and any(sign.isdigit() for sign in rest) and not rest[:1].isalpha():
            return rest
    return text


def _hexadecimal(text: str) -> str:
    """`0x...` and its relatives as one key, which no decimal number has."""
    found = _HEX.fullmatch(re.sub(r"[\s_]", "", text))
    return f"0X{(found[1] or found[2]).lstrip('0') or '0'}" if found else ""


def _compact(text: str) -> str:
    """F-012 and f 12 become F12; the point of A0.3 stays, for A03 is another code."""
    parts = _GROUP.findall(text)
    key = ""
    for index, part in enumerate(parts):
        after_number = index > 0 and parts[index - 1].isdigit()
        if part.isdigit():
            # Only a first number is written with idle zeros: A0.03 is not A0.3.
            key += f".{part}" if after_number else (part.lstrip("0") or "0")
        else:
            key += part
    return key


def _value(key: str, spelling: str) -> str:
    if found := _HEX_KEY.fullmatch(key):
        return str(int(found[1], 16))
    bare = re.sub(r"\s", "", spelling)
    return f"0X{bare.lstrip('0')}" if _BARE_HEX.fullmatch(bare) else ""
