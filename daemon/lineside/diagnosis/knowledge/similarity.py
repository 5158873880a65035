"""How well a report's text fits an entry, from 0 to 1. Knows nothing of codes, of vendors or of storage.

Displays cut, abbreviate and garble alarm texts, so what is measured is how much of the report's text comes
back in the entry in the same order, rare words weighing more, and how much of the title that accounts for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.diagnosis.knowledge.spelling import Reading, longest_common
from lineside.diagnosis.knowledge.terms import IDLE, has_cjk, pairs_among, signs, terms_in, words

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
    """A report's text, prepared once. `counts` tells how many of `entries` entries hold a word.

    `meant`: for a word that no entry has, those that it may be misspelt of, and how like they are.
    """

    signs: str
    words: tuple[str, ...]
    meant: Mapping[str, Mapping[str, float]]
    weights: tuple[float, ...]
    terms: Mapping[str, float]
    pairs: tuple[str, ...]
    once: float
    cjk: bool

    @classmethod
    def of(cls, reading: Reading, counts: Mapping[str, int], entries: int) -> Probe:
        """Prepare a text; a word that stands nowhere, nor any that it may be meant for, weighs most."""

        def weight(term: str) -> float:
            known = [term, *reading.meant.get(term, ())]
            return rarity(max(counts.get(one, 0) for one in known), entries)

        text = reading.text
        terms = {term: weight(term) * (IDLE_WEIGHT if term in IDLE else 1.0) for term in reading.terms}
        weights = tuple(map(weight, reading.words))
        return cls(
            signs(text),
            reading.words,
            reading.meant,
            weights,
            terms,
            pairs_among(terms),
            rarity(1, entries),
            has_cjk(text),
        )

    def similarity(self, text: Text) -> float:
        """Against the title, and against the meaning and the causes."""
        title = self._against(text.title, COVER_WEIGHT)
        if title >= BODY_WEIGHT:
            return title
        bodies = (self._against(part, 1.0) for part in (text.meaning, *text.causes) if part)
        return max(title, BODY_WEIGHT * max(bodies, default=0.0))

    def description(self, entry: Entry) -> Description:
        """How much of the text is in the entry, in whatever order: people describe, displays quote."""
        own = [part for text in entry.texts for part in (text.title, text.meaning, entry.unit, *text.causes)]
        known = terms_in(own, self.pairs)
        found = {term: 1.0 if term in known else self._meant_by(term, known) for term in self.terms}
        found = {term: fit for term, fit in found.items() if fit}
        weight = sum(self.terms[term] * fit for term, fit in found.items())
        total = sum(self.terms.values()) or 1.0
        return Description(weight / total, weight / self.once, sum(term not in IDLE for term in found))

    def _meant_by(self, term: str, known: Collection[str]) -> float:
        return max((fit for one, fit in self.meant.get(term, {}).items() if one in known), default=0.0)

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
        begins = {one[:MIN_STEM] for one in other}
        for word, weight in zip(self.words, self.weights, strict=True):
            if word in other:
                # Nothing fits better; most words of what is compared are such.
                fit, places = 1.0, other[used:]
                place = places.index(word) if word in places else -1
            else:
                fits = self._fits(word, other, begins)
                fit = max(fits, default=0.0)
                place = fits.index(fit, used) - used if fit and fit in fits[used:] else -1
            used += place + 1
            matched += weight * (fit if place >= 0 else fit * OUT_OF_ORDER)
        return matched / sum(self.weights), min(len(self.words) / len(other), 1.0)

    def _fits(self, word: str, other: Sequence[str], begins: Collection[str]) -> Sequence[float]:
        """How like each of the others is to a word that is none of them; none: like no word at all."""
        meant = self.meant.get(word, {})
        if word[:MIN_STEM] not in begins and not any(one in other for one in meant):
            return ()
        return [max(likeness(word, one), meant.get(one, 0.0)) for one in other]


def rarity(count: int, entries: int) -> float:
    """Weight of a word that `count` of `entries` entries hold."""
    return math.log(1 + (entries + 1) / (count + 0.5))


# A search compares the same few words in entry after entry.
@functools.lru_cache(maxsize=8192)
def likeness(one: str, other: str) -> float:
    """1 for the same word, nearly that for its abbreviation (temp, temperature), else 0."""
    if one == other:
        return 1.0
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    return ABBREVIATED if len(short) >= MIN_STEM and long.startswith(short) else 0.0
