"""How well a report's text fits an entry, from 0 to 1. Knows nothing of codes, of vendors or of storage.

Displays cut, abbreviate and garble alarm texts, so what is measured is how much of the report's text comes
back in the entry in the same order, rare words weighing more, and how much of the title that accounts for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.diagnosis.knowledge.terms import IDLE, has_cjk, query_terms, signs, words

# What the report says decides; what it leaves out of the title only ranks.
COVER_WEIGHT = 0.75
# A cause or meaning is longer than a title, so that its words are met by chance more often.
BODY_WEIGHT = 0.9
MIN_STEM = 4
ABBREVIATED, OUT_OF_ORDER = 0.95, 0.8
# A base of a few hundred entries cannot tell by counting that these say nothing.
IDLE_WEIGHT = 0.25


class Description(NamedTuple):
    """What of a text an entry holds: a share of its weight; that, in words that stand once; telling terms."""

    cover: float
    weight: float
    terms: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A report's text, prepared once. `counts` tells how many of `entries` entries hold a word."""

    signs: str
    words: tuple[str, ...]
    weights: tuple[float, ...]
    terms: Mapping[str, float]
    once: float
    cjk: bool

    @classmethod
    def of(cls, text: str, counts: Mapping[str, int], entries: int) -> Probe:
        """Prepare `text`; a word that stands nowhere weighs most."""
        found = tuple(words(text))
        weights = tuple(rarity(counts.get(word, 0), entries) for word in found)
        terms = {
            term: rarity(counts.get(term, 0), entries) * (IDLE_WEIGHT if term in IDLE else 1.0)
            for term in query_terms(text)
        }
        return cls(signs(text), found, weights, terms, rarity(1, entries), has_cjk(text))

    def similarity(self, text: Text) -> float:
        """Against the title, and against the meaning and the causes."""
        title = self._against(text.title, COVER_WEIGHT)
        bodies = (self._against(part, 1.0) for part in (text.meaning, *text.causes) if part)
        return max(title, BODY_WEIGHT * max(bodies, default=0.0))

    def description(self, entry: Entry) -> Description:
        """How much of the text is in the entry, in whatever order: people describe, displays quote."""
        known: set[str] = set()
        for text in entry.texts:
            for part in (text.title, text.meaning, entry.unit, *text.causes):
                known.update(query_terms(part))
        found = [term for term in self.terms if term in known]
        weight = sum(self.terms[term] for term in found)
        total = sum(self.terms.values()) or 1.0
        return Description(weight / total, weight / self.once, sum(term not in IDLE for term in found))

    def _against(self, part: str, cover_weight: float) -> float:
        if has_cjk(part) != self.cjk:
            return 0.0
        cover, share = self._signs_in(part) if self.cjk else self._words_in(part)
        return cover * (cover_weight + (1 - cover_weight) * share)

    def _signs_in(self, part: str) -> tuple[float, float]:
        other = signs(part)
        if not self.signs or not other:
            return 0.0, 0.0
        common = longest_common(self.signs, other)
        return common / len(self.signs), common / len(other)

    def _words_in(self, part: str) -> tuple[float, float]:
        other = words(part)
        if not self.words or not other:
            return 0.0, 0.0
        matched, used = 0.0, 0
        for word, weight in zip(self.words, self.weights, strict=True):
            fits = [likeness(word, candidate) for candidate in other]
            fit = max(fits)
            if fit and fit in fits[used:]:
                used = fits.index(fit, used) + 1
            else:
                fit *= OUT_OF_ORDER
            matched += weight * fit
        return matched / sum(self.weights), min(len(self.words) / len(other), 1.0)


def rarity(count: int, entries: int) -> float:
    """Weight of a word that `count` of `entries` entries hold."""
    return math.log(1 + (entries + 1) / (count + 0.5))


def likeness(one: str, other: str) -> float:
    """1 for the same word, nearly that for its abbreviation (temp, temperature), else 0."""
    if one == other:
        return 1.0
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    return ABBREVIATED if len(short) >= MIN_STEM and long.startswith(short) else 0.0


def longest_common(one: str, other: str) -> int:
    """Length of the longest common subsequence, by bit-parallel rows (Hyyrö 2004): a step a character."""
    masks: dict[str, int] = {}
    for position, sign in enumerate(one):
        masks[sign] = masks.get(sign, 0) | 1 << position
    full = (1 << len(one)) - 1
    row = full
    for sign in other:
        hit = row & masks.get(sign, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(one) - bin(row).count("1")
