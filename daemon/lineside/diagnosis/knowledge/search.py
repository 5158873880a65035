"""From a report's code and text to the entries it is about, or to a conflict, or to nothing.

Knows nothing of answers. A code decides before text does; what cannot be told apart is shown as a conflict,
for a wrong entry costs a technician more than none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import PLANT_SOURCE, Entry
from lineside.diagnosis.knowledge.fusion import (
    Calibration,
    Fused,
    features_of,
    kind_of,
    probability,
    shipped_calibration,
)
from lineside.diagnosis.knowledge.rereading import READ, Ranked, Reading, reread
from lineside.diagnosis.knowledge.retrieval import Candidate, Query, Retrieval, Verdict
from lineside.diagnosis.knowledge.scope import same, scope_of
from lineside.diagnosis.knowledge.store import Found, Snapshot, Store
from lineside.diagnosis.knowledge.text_search import TextSearch, comparable
from lineside.diagnosis.knowledge.vector_index import Cosines
from lineside.diagnosis.knowledge.vectors import Vectors

_Ranked = TypeVar("_Ranked")

# Thresholds of similarity, set on labelled reports of two robot vendors (300 garbled titles, 66 texts of no
# entry, both languages): 299 of the titles and 1 of the texts are above TEXT_HIT.
TEXT_HIT = 0.70
# The code is unknown here, so most likely the fault is too: the text has to be all but a title.
TEXT_HIT_UNKNOWN_CODE = 0.85
# A text that fits more entries than this equally well ("Error") names none; up to that many share the trust.
MAX_EQUAL, SAME = 3, 0.005
# A text that describes a fault in its own words is worth less than any that has the title's.
DESCRIBED = 0.4
# Other entries are shown beside a hit where they come this close.
NEAR = 0.6
# Alarm text that parts entries with one code has to fit one of them, and the next one less.
RESOLVE_FIT, RESOLVE_MARGIN = 0.45, 0.15
# Text against a code's entry: it says something else when it fits that entry badly and another one well.
DISAGREE_OWN, DISAGREE_OTHER = 0.25, 0.90
# Two readings further apart are no spellings of one code: E12 and F12 share only their number.
MAX_RANK = 3
RANK_SCORES = (1.0, 0.95, 0.9, 0.85)
MAX_SHOWN = 8
# A report's text is half as long; a second of searching is what a hundred times as much would take.
MAX_TEXT = 2000
# Fused scores run from about 1.5 to 3: entries this close are told apart by nobody, these are shown beside.
EQUAL_SCORES, NEAR_SCORES = 0.03, 0.4


class Searcher:
    """Searches a store, by words and, where there are `vectors`, by those too. Thread-safe; blocking."""

    def __init__(
        self,
        store: Store,
        max_entries: int = 3,
        vectors: Vectors | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.store = store
        self.max_entries = max_entries
        self.vectors = vectors
        self.calibration = calibration or shipped_calibration()

    def search(self, query: Query, reading: Reading | None = None) -> Retrieval:
        """Find the entry that `query` is about. `reading`: what a model made of what was `unread`."""
        with self.store.snapshot() as snapshot:
            if snapshot is None:
                return Retrieval("none")
            return _Search(snapshot, query, self, reading).run()

    def ranking(self, query: Query) -> list[Fused]:
        """All that a text is compared with, best first, by words and vectors; a code is left aside."""
        with self.store.snapshot() as snapshot:
            return [] if snapshot is None else _Search(snapshot, query, self).ranking()


class _Search:
    """One query over one snapshot."""

    def __init__(
        self, snapshot: Snapshot, query: Query, searcher: Searcher, reading: Reading | None = None
    ) -> None:
        self._snapshot = snapshot
        self._reading = reading
        self._query = query = replace(query, text=query.text[:MAX_TEXT])
        self._searcher = searcher
        self._max_entries = searcher.max_entries
        self._scope = scope_of(snapshot.facets, query.vendor, query.model, query.unit, query.fw)
        self._text = TextSearch(snapshot, self._scope, query.text)
        in_scope = set(self._scope.facets)
        self._learnt = [
            facet.id for facet in snapshot.facets if facet.source == PLANT_SOURCE and facet.id in in_scope
        ]

    def run(self) -> Retrieval:
        by_code = self._by_code()
        if not by_code:
            return self._by_text()
        best = self._resolve(by_code)
        candidates = [self._candidate(one) for one in best]
        if len(best) == 1 and (other := self._contradiction(best[0])):
            candidates.append(other)
        return self._result("hit" if len(candidates) == 1 else "conflict", candidates)

    def _by_code(self) -> list[Found]:
        """Entries of the nearest reading of the code, in the best fitting part of the scope."""
        keys = code_keys(self._query.code, self._query.code_base)
        if not keys or not self._scope.facets:
            return []
        found = [one for one in self._snapshot.by_code(keys, self._scope.facets) if one.weight <= MAX_RANK]
        found = self._manuals(found, lambda one: one)
        if not found:
            return []
        nearest = [one for one in found if one.weight == found[0].weight]
        fit = max(self._scope.preference[one.facet] for one in nearest)
        return [one for one in nearest if self._scope.preference[one.facet] == fit]

    def _resolve(self, found: list[Found]) -> list[Found]:
        """The one entry that the alarm text fits, or all of them."""
        if len(found) == 1 or not self._query.text:
            return found
        ranked = sorted(((self._text.similarity(one.entry), one) for one in found), key=lambda pair: -pair[0])
        (first, best), (second, _) = ranked[:2]
        clear = first >= RESOLVE_FIT and first - second >= RESOLVE_MARGIN
        return [best] if clear else [one for _, one in ranked]

    def _contradiction(self, found: Found) -> Candidate | None:
        """Another entry that the alarm text clearly means, where it does not fit the code's."""
        if not self._query.text or not comparable(found.entry, self._query.text):
            return None
        if self._text.similarity(found.entry) > DISAGREE_OWN:
            return None
        score, other = next(iter(self._text.ranked()), (0.0, found))
        if score < DISAGREE_OTHER or other.row == found.row:
            return None
        return Candidate(other.entry, self._worth(score, other), "text")

    def _by_text(self) -> Retrieval:
        cosines = self._cosines()
        return self._by_words() if cosines is None else self._by_fusion(self._text.fused(cosines))

    def ranking(self) -> list[Fused]:
        cosines = self._cosines()
        return [] if cosines is None else self._text.fused(cosines)

    def _cosines(self) -> Cosines | None:
        """Cosines of the text with the entries in scope; None where there are no vectors."""
        vectors = self._searcher.vectors
        if vectors is None or not self._query.text or not self._scope.facets:
            return None
        index = vectors.index(self._snapshot.version)
        vector = vectors.query(self._query.text) if index else None
        if index is None or vector is None:
            return None
        return index.cosines(vector, None if self._scope.whole else self._scope.facets)

    def _by_fusion(self, ranked: list[Fused]) -> Retrieval:
        """By words and vectors: the first where that is likely enough right, or all that fit it equally."""
        ranked = self._manuals(ranked, lambda one: one.found)
        if not ranked:
            return self._result("none", [])
        kind = kind_of(self._query.text, comparable=comparable(ranked[0].found.entry, self._query.text))
        weights = self._searcher.calibration.weights(kind)
        share = probability(features_of(ranked, code=bool(self._query.code)), weights)
        if kind == "foreign" and self._reading is not None:
            anew, conf = reread(ranked, share, self._reading)
            return self._decided(anew, conf, self._reading.weights.threshold, equal=1)
        first = ranked[0]
        equal = sum(
            one.words > first.words - SAME and first.score - one.score < EQUAL_SCORES for one in ranked
        )
        scored = [Ranked(one, one.score) for one in ranked]
        found = self._decided(scored, share, weights.threshold, equal)
        by_words_alone = found.verdict == "hit" and share < weights.threshold
        if kind != "foreign" or by_words_alone:
            return found
        return replace(found, unread=tuple(one.found.entry for one in ranked[:READ]))

    def _decided(self, ranked: list[Ranked], share: float, threshold: float, equal: int) -> Retrieval:
        """`share`: the confidence in the first. `equal`: so many are as good."""
        best = ranked[0].score
        candidates = [
            Candidate(fused.found.entry, self._worth(share * score / max(best, 1e-6), fused.found), "text")
            for fused, score in ranked
        ]
        if share < threshold:
            by_words = self._by_words()
            unsure = self._result("none", candidates[: self._max_entries])
            return by_words if by_words.verdict == "hit" else unsure
        if equal > MAX_EQUAL:
            return self._result("conflict", candidates[:equal])
        near = [one for one in ranked[: self._max_entries] if best - one.score <= NEAR_SCORES]
        return self._result("hit", candidates[: len(near)])

    def _by_words(self) -> Retrieval:
        ranked = [(self._worth(score, one), one) for score, one in self._text.ranked()]
        ranked = self._manuals(ranked, lambda pair: pair[1])
        threshold = TEXT_HIT_UNKNOWN_CODE if self._query.code else TEXT_HIT
        if not ranked or ranked[0][0] < threshold:
            return self._by_description(ranked)
        equal = sum(score > ranked[0][0] - SAME for score, _ in ranked)
        if equal > MAX_EQUAL:
            return self._result("conflict", _shown(ranked[:equal], 1.0))
        near = [pair for pair in ranked[: self._max_entries] if pair[0] >= NEAR * ranked[0][0]]
        return self._result("hit", _shown(near, equal**-0.5))

    def _by_description(self, ranked: list[tuple[float, Found]]) -> Retrieval:
        """Where no title fits; not where the code is unknown, for then so is the fault."""
        described = None if self._query.code else self._text.described()
        if described is None:
            return self._result("none", _shown(ranked[: self._max_entries], 1.0))
        cover, found = described
        best = Candidate(
            found.entry, round(self._worth(DESCRIBED + (TEXT_HIT - DESCRIBED) * cover, found), 3), "text"
        )
        others = [
            (score, one) for score, one in ranked if one.row != found.row and score >= NEAR * best.score
        ]
        return self._result("hit", [best, *_shown(others[: self._max_entries - 1], 1.0)])

    def _confirmed(self, first: Candidate) -> list[Candidate]:
        """What the plant has confirmed of the entry that was found: before the entry itself."""
        if first.entry.confirmed is not None:
            return []
        found = self._snapshot.by_code(code_keys(first.entry.code)[:1], self._learnt)
        return [
            Candidate(one.entry, first.score, first.by)
            for one in found
            if one.weight == 0 and _agree(one.entry, first.entry)
        ]

    def _manuals(self, ranked: list[_Ranked], found_in: Callable[[_Ranked], Found]) -> list[_Ranked]:
        """Without what the plant has confirmed of an entry that is there too: that comes back beside it."""
        if not self._learnt:
            return ranked
        manuals = [found_in(one).entry for one in ranked if found_in(one).entry.confirmed is None]
        return [
            one
            for one in ranked
            if found_in(one).entry.confirmed is None
            or not any(_agree(found_in(one).entry, manual) for manual in manuals)
        ]

    def _worth(self, score: float, found: Found) -> float:
        return round(score * self._scope.trust[found.facet], 3)

    def _candidate(self, found: Found) -> Candidate:
        return Candidate(found.entry, self._worth(RANK_SCORES[int(found.weight)], found), "code")

    def _result(self, verdict: Verdict, candidates: list[Candidate]) -> Retrieval:
        if verdict == "hit" and self._learnt:
            candidates = [*self._confirmed(candidates[0]), *candidates]
        return Retrieval(verdict, tuple(candidates[:MAX_SHOWN]), self._snapshot.version, len(candidates))


def _shown(ranked: list[tuple[float, Found]], share: float) -> list[Candidate]:
    return [Candidate(one.entry, round(score * share, 3), "text") for score, one in ranked]


def _agree(one: Entry, other: Entry) -> bool:
    """Whether two entries can be of one fault: the same code, and nothing that says another device."""
    pairs = ((one.vendor, other.vendor), (one.model, other.model), (one.unit, other.unit))
    return one.code == other.code and all(not a or not b or same(a, b) for a, b in pairs)
