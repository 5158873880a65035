"""Words that no manual has, read as words that one has: misspelt, cut short, without vowels, run together.

Knows nothing of entries. A word that stands anywhere in the manuals is never read as another one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lineside.diagnosis.knowledge.bits import ones
from lineside.diagnosis.knowledge.terms import query_terms, same_words, words

MIN_LETTERS, MAX_LETTERS = 4, 40
MAX_NEAR = 4
# Of one text; each is compared with all that the manuals know.
MAX_UNKNOWN = 16
# Twice the letters in common, in order, over all letters of both: one lost, added or wrong, or two swapped.
NEAR = 0.78
# A display's short form begins as the word does and leaves letters out: ENCDR, MTR, CTRL.
SHORT_FORM, MIN_SHORT_FORM = 0.6, 3
# Where the beginnings differ it is most often another word: pump and jump, connect and disconnect.
NEAR_OTHER_BEGINNING = 0.85
# Of shorter ones most words can be made.
MIN_PART, MAX_PART, MIN_MEAN_PART = 2, 20, 3
MAX_WRONG = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """A text's words in order and its search terms; `meant`: for an unknown one, those it may stand for."""

    text: str
    words: tuple[str, ...]
    terms: tuple[str, ...]
    meant: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def plain(cls, text: str) -> Reading:
        """As it stands."""
        return cls(text, words(text), tuple(query_terms(text)))


class Spelling:
    """The words of one knowledge base, each with the number of entries that hold it."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts
        # A term stands for several words, of which it need not be the one that was misspelt.
        spelt = [(word, term) for term in counts for word in same_words(term) if len(word) >= MIN_LETTERS]
        self._known = [word for word, _ in spelt]
        self._terms = [term for _, term in spelt]
        self._letters = np.array([_mask(word) for word in self._known], np.uint32)
        self._lengths = np.array([len(word) for word in self._known], np.int64)

    def read(self, text: str) -> Reading:
        """The text as somebody reads it who knows the manuals' words."""
        as_written = Reading.plain(text)
        unknown = [word for word in as_written.terms if not self._is_known(word)][:MAX_UNKNOWN]
        apart = {word: parts for word in unknown if (parts := self.parts(word))}
        meant = {word: near for word in unknown if word not in apart and (near := self.near(word))}
        terms = dict.fromkeys(part for word in as_written.terms for part in apart.get(word, (word,)))
        read = tuple(part for word in as_written.words for part in apart.get(word, (word,)))
        return Reading(text, read, tuple(terms), meant)

    def near(self, word: str) -> dict[str, float]:
        """Terms that may be meant, and how like they are: from 0 to 1. None for a word that is known."""
        if self._is_known(word) or len(word) < MIN_SHORT_FORM:
            return {}
        found: dict[str, float] = {}
        for place in self._possible(word):
            term, ratio = self._terms[place], alike(word, self._known[place])
            found[term] = max(ratio, found.get(term, 0.0))
        best = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_NEAR]
        return {term: ratio for term, ratio in best if ratio}

    def parts(self, word: str) -> tuple[str, ...]:
        """The known terms that run together make it, as few as do; none where it is known or they do not."""
        if self._is_known(word):
            return ()
        best: list[tuple[str, ...] | None] = [(), *[None] * len(word)]
        for end in range(MIN_PART, len(word) + 1):
            ways = [
                (*before, term)
                for start in range(max(0, end - MAX_PART), end - MIN_PART + 1)
                if (before := best[start]) is not None and (term := self._term(word[start:end]))
            ]
            best[end] = min(ways, key=len, default=None)
        found = best[-1] or ()
        return found if len(found) * MIN_MEAN_PART <= len(word) else ()

    def _is_known(self, word: str) -> bool:
        return word in self._counts or len(word) > MAX_LETTERS or not (word.isascii() and word.isalpha())

    def _term(self, piece: str) -> str:
        found = words(piece)
        return found[0] if len(found) == 1 and found[0] in self._counts else ""

    def _possible(self, word: str) -> list[int]:
        """Places of known words, without those that have too few letters in common, whatever their order."""
        own = np.uint32(_mask(word))
        lacking, other = ones(own & ~self._letters), ones(self._letters & ~own)
        longer = self._lengths - len(word)
        near = (lacking <= MAX_WRONG) & (other <= MAX_WRONG) & (np.abs(longer) <= MAX_WRONG)
        short_form = (lacking == 0) & (longer > 0)
        return [int(place) for place in np.flatnonzero(near | short_form)]


def alike(word: str, known: str) -> float:
    """How likely `word` was meant to be `known`; 0 where it was not."""
    common = longest_common(word, known)
    ratio = 2 * common / (len(word) + len(known))
    same_beginning = word[0] == known[0]
    if not same_beginning and _is_opposite(word, known):
        return 0.0
    if same_beginning and common == len(word) and ratio >= SHORT_FORM:
        return ratio
    return ratio if ratio >= (NEAR if same_beginning else NEAR_OTHER_BEGINNING) else 0.0


def _is_opposite(one: str, other: str) -> bool:
    """Whether something stands before the one that is not in the other: correct and incorrect."""
    short, long = sorted((one, other), key=len)
    return long.endswith(short) and len(long) - len(short) > 1


def longest_common(one: str, other: str) -> int:
    """Length of the longest common subsequence, by bit-parallel rows (Hyyrö 2004): a step a character."""
    masks = _places(one)
    full = (1 << len(one)) - 1
    row = full
    for sign in other:
        hit = row & masks.get(sign, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(one) - bin(row).count("1")


# One text is compared with many.
@functools.lru_cache(maxsize=64)
def _places(text: str) -> dict[str, int]:
    """For each sign, a bit where it stands."""
    places: dict[str, int] = {}
    for position, sign in enumerate(text):
        places[sign] = places.get(sign, 0) | 1 << position
    return places


def _mask(word: str) -> int:
    """A bit for each letter that is in it."""
    return functools.reduce(lambda bits, sign: bits | 1 << (ord(sign) - ord("a") & 31), word, 0)
