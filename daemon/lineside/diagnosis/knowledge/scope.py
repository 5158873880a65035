"""Which entries a report can be about: vendor, model, unit, firmware. Knows no codes, no texts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from lineside.diagnosis.knowledge import firmware
from lineside.diagnosis.knowledge.store import Facet
from lineside.diagnosis.knowledge.terms import signs, words

# The vendor's manual for another model of his is likely right, and not surely.
OTHER_MODEL = 0.8


@dataclass(frozen=True, slots=True)
class Scope:
    """Facets by their preference, a bigger one being the better fit; `trust` is what a hit in it is worth."""

    preference: dict[int, int]
    trust: dict[int, float]
    whole: bool

    @property
    def facets(self) -> list[int]:
        """Ids of the facets in scope."""
        return list(self.preference)


# Devices are the same from report to report; a version has its facets.
@functools.lru_cache(maxsize=64)
def scope_of(facets: tuple[Facet, ...], vendor: str, model: str, unit: str, fw: str = "") -> Scope:
    """Drop other vendors' entries, and those of other firmware.

    And other models' and units', where the model or unit is known here.
    """
    kept = [facet for facet in facets if not vendor or not facet.vendor or same(vendor, facet.vendor)]
    kept = [facet for facet in kept if firmware.matches(facet.firmware, fw)]
    known_model = bool(model) and any(same(model, facet.model) for facet in kept)
    if known_model:
        kept = [facet for facet in kept if not facet.model or same(model, facet.model)]
    if unit and any(same(unit, facet.unit) for facet in kept):
        kept = [facet for facet in kept if not facet.unit or same(unit, facet.unit)]
    preference = {facet.id: _preference(facet, vendor, model, unit) for facet in kept}
    unsure = bool(model) and not known_model
    trust = {facet.id: OTHER_MODEL if unsure and facet.model else 1.0 for facet in kept}
    return Scope(preference, trust, len(kept) == len(facets))


# A large base has hundreds of facets and few names: each pair is compared once.
@functools.lru_cache(maxsize=16_384)
def same(one: str, other: str) -> bool:
    """Equal but for case, spaces and punctuation, or the other with more words: ACME, Acme Drives GmbH."""
    if not one or not other:
        return False
    if signs(one) == signs(other):
        return True
    short, long = sorted((words(one), words(other)), key=len)
    return bool(short) and long[: len(short)] == short


def _preference(facet: Facet, vendor: str, model: str, unit: str) -> int:
    by_vendor = 2 if same(vendor, facet.vendor) else int(same(vendor, facet.source))
    return 4 * by_vendor + 2 * same(model, facet.model) + same(unit, facet.unit)
