"""Ranges of firmware versions, such as `>=2.1 <3` or `V2.1-V2.8`. Knows nothing of entries."""

from __future__ import annotations

import functools
import re
import unicodedata

# A version's numbers in their order: V2.10.3 comes after V2.9; signs that are no numbers part nothing.
_NUMBERS = re.compile(r"\d+")
_VERSION = r"[vVrR]?\d[\w.]*"
_BOUND = re.compile(rf"(>=|<=|==|=|>|<)\s*({_VERSION})")
_BETWEEN = re.compile(rf"({_VERSION})\s*(?:\.\.+|[-–—~]|to|至|到)\s*({_VERSION})", re.IGNORECASE)
_LATER = r"(?:\+|(?:and|or) (?:later|up|above|newer)|onwards?|及?以上|起)"
_FROM = re.compile(rf"(?:from|since|自|从)\s*({_VERSION})\s*{_LATER}?|({_VERSION})\s*{_LATER}", re.IGNORECASE)
_EARLIER = r"(?:(?:and|or) (?:earlier|older|below)|及?以下)"
_UP_TO = re.compile(rf"(?:up to|until)\s*({_VERSION})|({_VERSION})\s*{_EARLIER}", re.IGNORECASE)
_LIST = re.compile(r"\s*[,;，；、|]\s*")
_Numbers = tuple[int, ...]
_Bounds = tuple[tuple[str, _Numbers], ...]


def matches(firmware: str, version: str) -> bool:
    """Whether `version` lies in the range; an unknown version and an empty range fit anything."""
    numbers = _numbers(version)
    alternatives = ranges_of(firmware)
    if not numbers or not alternatives:
        return True
    return any(all(_holds(sign, numbers, bound) for sign, bound in bounds) for bounds in alternatives)


@functools.lru_cache(maxsize=4096)
def ranges_of(firmware: str) -> tuple[_Bounds, ...]:
    """The alternatives of a range, each the bounds that all hold. Raises ValueError on anything else."""
    text = unicodedata.normalize("NFKC", firmware).strip().replace("≥", ">=").replace("≤", "<=")
    if not text or text.casefold() in ("*", "any", "all", "全部", "所有", "不限", "-"):
        return ()
    if _BOUND.search(text):
        return (_bounds(text),)
    return tuple(_alternative(part) for part in _LIST.split(text) if part)


def _bounds(text: str) -> _Bounds:
    if re.sub(r"[\s,;&]|and", "", _BOUND.sub("", text)):
        raise ValueError(text)
    return tuple((sign, _numbers(version)) for sign, version in _BOUND.findall(text))


def _alternative(text: str) -> _Bounds:
    if found := _BETWEEN.fullmatch(text):
        return (">=", _numbers(found[1])), ("<=", _numbers(found[2]))
    if found := _FROM.fullmatch(text):
        return ((">=", _numbers(found[1] or found[2])),)
    if found := _UP_TO.fullmatch(text):
        return (("<=", _numbers(found[1] or found[2])),)
    stem = text[:-2] if text[-2:].casefold() in (".x", ".*") else text
    if re.fullmatch(_VERSION, stem):
        return (("=", _numbers(stem)),)
    raise ValueError(text)


def _numbers(version: str) -> _Numbers:
    return tuple(int(number) for number in _NUMBERS.findall(version[:64]))


def _holds(sign: str, numbers: _Numbers, bound: _Numbers) -> bool:
    """2.1.7 is within 2.1, so it is neither above nor below it."""
    near = numbers[: len(bound)] + (0,) * (len(bound) - len(numbers))
    return {
        "=": near == bound,
        "==": near == bound,
        ">=": near >= bound,
        "<=": near <= bound,
        ">": near > bound,
        "<": near < bound,
    }[sign]
