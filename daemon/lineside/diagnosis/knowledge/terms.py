"""Text as search terms: words for alphabets, pairs of characters for Chinese. Knows nothing of storage.

A full-text index splits Chinese nowhere, and three-character pieces miss its two-character words.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_SIGN = re.compile(r"[^\W_]")
# MoveJParam and Joint2 hold several words each.
_INNER = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)")


def stem(word: str) -> str:
    """Close enough to a stem for blocked and blocking, filters and filter to meet."""
    for ending, keep in (("ing", 4), ("ed", 4), ("es", 4), ("s", 3)):
        base = word.removesuffix(ending)
        if base != word and len(base) >= keep and not word.endswith(("ss", "us", "is")):
            doubled = ending in ("ing", "ed") and base[-1] == base[-2] and base[-1] not in "ls"
            return base[:-1] if doubled else base
    return word.removesuffix("e") if len(word) > 4 else word


# Words that say the same in an alarm text, with the abbreviations that displays have room for. Stems.
_SYNONYMS = """
    overtemp overtemperatur overheat|temp temperatur|block clog|differential difference diff|err error
    |comm communication communicat|pos position|volt voltag|curr current|press pressur|param parameter
    |init initialization initialisation|lost loss los lose miss|emerg emergency|estop emergencystop
    |calib calibration|config configuration|max maximum|min minimum|disconnect unplug|broken break broke
    |seiz stuck|spd speed|mtr motor|enc encoder|brk brake brak|acc acceleration|decel deceleration
"""
_CANONICAL = {word: group.split()[0] for group in _SYNONYMS.split("|") for word in group.split()}
_SAME = {group.split()[0]: tuple(group.split()) for group in _SYNONYMS.split("|")}
# Words of any sentence, as stems.
_IDLE_WORDS = """
    a an the of to in on at for from by with and or is are was were be been has have had not no it its this
    that than then when while after before as into out up off over any all several more most can could may
    must will would
"""
IDLE = frozenset(map(stem, _IDLE_WORDS.split()))
MAX_SIGNS = 400
# A dropped or garbled character or two leaves the pair around it findable.
MAX_GAP = 3
# What people say of a fault, and what manuals say instead. Not what is only near: low is not missing.
_SAYINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), titles)
    for pattern, titles in (
        (
            r"\b(?:(?:is|too|very|gets?)\s+)*hot\b|\btemp(?:erature)?\s+(?:(?:is|too|very)\s+)*high\b",
            ("overtemperature", "temperature too high"),
        ),
        (r"^\s*no\s+(\w+)\s*$", (r"\1 not reached", r"\1 lost")),
        (r"[过太很][热烫]|发烫|温度[过太很偏]?高", ("过热", "温度过高")),
        (r"上不去|(?:建立|建|起|升)不(?:起来|上去)|达不到|未(?:建立|达到)", ("未建立", "未达到")),
    )
)


def sayings(text: str) -> tuple[str, ...]:
    """The text, and what a manual's title may say instead of its everyday words."""
    found = [text]
    for pattern, titles in _SAYINGS:
        if pattern.search(text):
            found.extend(pattern.sub(title, text) for title in titles)
    return tuple(dict.fromkeys(found))


def same_words(term: str) -> tuple[str, ...]:
    """The words, as stems, that are read as this one."""
    return _SAME.get(term, (term,))


def has_cjk(text: str) -> bool:
    """Whether any of it is Chinese."""
    return not text.isascii() and _CJK.search(text) is not None


# A search reads each part of an entry several times.
@functools.lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """Words in order, in lower case, endings dropped, joined words taken apart."""
    plain = _INNER.sub(" ", text if text.isascii() else unicodedata.normalize("NFKC", text))
    return tuple(map(_canonical, _WORD.findall(plain.casefold())))


# And the same few hundred words again and again.
@functools.lru_cache(maxsize=16_384)
def _canonical(word: str) -> str:
    base = stem(word)
    return _CANONICAL.get(base, base)


@functools.lru_cache(maxsize=1024)
def signs(text: str) -> str:
    """Letters, digits and characters alone, in lower case: what is left when spacing is not trusted."""
    return "".join(_SIGN.findall(unicodedata.normalize("NFKC", text).casefold()))[:MAX_SIGNS]


def title_terms(text: str) -> list[str]:
    """What an entry's title or cause is found by."""
    return [*words(text), *_pairs(signs(text), MAX_GAP)] if has_cjk(text) else list(words(text))


def query_terms(text: str) -> list[str]:
    """What a report's text is looked up by, without repeats."""
    found = (*words(text), *_pairs(signs(text), 1)) if has_cjk(text) else words(text)
    return list(dict.fromkeys(found))


def pairs_among(terms: Iterable[str]) -> tuple[str, ...]:
    """Those that are a pair of signs in a Chinese text."""
    return tuple(term for term in terms if term[0] == "·" or (len(term) == 2 and _CJK.match(term)))


def terms_in(parts: Iterable[str], pairs: Sequence[str]) -> set[str]:
    """Words of the parts, and those pairs that are in one of them: as query_terms has them, sooner."""
    found: set[str] = set()
    chinese = []
    for part in parts:
        found.update(words(part))
        if pairs and has_cjk(part):
            chinese.append(signs(part))
    # Nothing is a pair across a line's end.
    text = "\n".join(chinese)
    found.update(pair for pair in pairs if pair.removeprefix("·") in text)
    return found


def _pairs(text: str, gap: int) -> Iterator[str]:
    """Pairs of characters up to `gap` apart; Latin pairs carry a mark that keeps them from being words."""
    for step in range(1, gap + 1):
        for first, second in zip(text, text[step:], strict=False):
            yield f"{first}{second}" if _CJK.match(first) else f"·{first}{second}"
    if len(text) == 1:
        yield text
