"""Entries by a report's text: full-text search proposes, similarity decides. Knows nothing of codes."""

from __future__ import annotations

from functools import cached_property

from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.knowledge.fusion import DESCRIBED_WEIGHT, Fused
from lineside.diagnosis.knowledge.scope import Scope
from lineside.diagnosis.knowledge.similarity import Probe
from lineside.diagnosis.knowledge.spelling import Reading
from lineside.diagnosis.knowledge.store import Found, Snapshot
from lineside.diagnosis.knowledge.terms import has_cjk, sayings
from lineside.diagnosis.knowledge.vector_index import Cosines

MAX_CANDIDATES = 32
# Beside vectors the first of them do: what shares few words is near, or it is not what is meant.
MAX_FUSED, MAX_NEAREST = 16, 16
# When a text describes an entry: that holds this share of the text's weight and this weight, in so many words
# or pairs of Chinese characters, and no other one holds more than MAX_OTHER of it. Set as in search.py.
MIN_COVER, MIN_WEIGHT, MIN_WORDS, MIN_PAIRS, MAX_OTHER = 0.25, 2.2, 3, 4, 0.65


class TextSearch:
    """One report's text over one snapshot, within a scope. Does nothing until it is asked."""

    def __init__(self, snapshot: Snapshot, scope: Scope, text: str) -> None:
        self._snapshot = snapshot
        self._scope = scope
        self._text = text
        self._similarities: dict[str, float] = {}

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        """The text as it is, then as a manual may say it."""
        return tuple(map(self._snapshot.spelling.read, sayings(self._text)))

    @cached_property
    def _terms(self) -> list[str]:
        terms = [term for reading in self._readings for term in reading.terms]
        meant = [term for reading in self._readings for near in reading.meant.values() for term in near]
        return list(dict.fromkeys((*terms, *meant)))

    @cached_property
    def _counts(self) -> dict[str, int]:
        return self._snapshot.document_counts(self._terms)

    @cached_property
    def _probes(self) -> tuple[Probe, ...]:
        entries = self._snapshot.entries
        return tuple(Probe.of(reading, self._counts, entries) for reading in self._readings)

    def similarity(self, entry: Entry) -> float:
        """How well the text fits the entry in any of its languages."""
        known = self._similarities.get(entry.id)
        if known is None:
            known = max(probe.similarity(text) for probe in self._probes for text in entry.texts)
            self._similarities[entry.id] = known
        return known

    def ranked(self) -> list[tuple[float, Found]]:
        """Entries with their similarity, best first; of equals the one that full-text search puts first."""
        scored = [(self.similarity(one.entry), one) for one in self._found]
        return sorted(scored, key=lambda pair: (-pair[0], -pair[1].weight, pair[1].row))

    def fused(self, cosines: Cosines) -> list[Fused]:
        """Entries by their words and by their vectors, best first."""
        found = {one.row: one for one in self._found[:MAX_FUSED]}
        rows = cosines.nearest(MAX_NEAREST)
        for one in self._snapshot.by_rows([row for row in rows if row not in found]):
            found[one.row] = one
        near = zip(found.values(), cosines.of(list(found)), strict=True)
        fused = [Fused(one, self._words_in(one.entry), cosine) for one, cosine in near]
        return sorted(fused, key=lambda one: (-one.score, one.found.row))

    def _words_in(self, entry: Entry) -> float:
        similarity = self.similarity(entry)
        # No description is worth more.
        if similarity >= DESCRIBED_WEIGHT:
            return similarity
        return max(similarity, DESCRIBED_WEIGHT * self._probes[0].description(entry).cover)

    def described(self) -> tuple[float, Found] | None:
        """The entry that the text describes in other words than the title's, and how much of it that holds.

        None unless one entry holds clearly more of it than any other.
        """
        found = [(self._probes[0].description(one.entry), one) for one in self._found]
        if not found:
            return None
        best, entry = max(found, key=lambda pair: pair[0].cover)
        others = (described.cover for described, one in found if one.row != entry.row)
        enough = MIN_PAIRS if has_cjk(self._text) else MIN_WORDS
        if best.cover < MIN_COVER or best.weight < MIN_WEIGHT or best.terms < enough:
            return None
        return (best.cover, entry) if max(others, default=0.0) <= MAX_OTHER * best.cover else None

    @cached_property
    def _found(self) -> list[Found]:
        known = sorted((self._counts[term], term) for term in self._terms if term in self._counts)
        if not known or not self._scope.facets:
            return []
        facets = None if self._scope.whole else self._scope.facets
        return self._snapshot.by_terms(known, facets, MAX_CANDIDATES)


def comparable(entry: Entry, text: str) -> bool:
    """Whether the entry has words in the text's language."""
    return any(has_cjk(own.title) == has_cjk(text) for own in entry.texts)
