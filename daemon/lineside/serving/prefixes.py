"""What each slot's cache holds, and how much of it a new sequence can begin with. Knows no clock.

A cache is good for any sequence that begins alike, up to the first token that differs. A slot keeps its cache
when its sequence ends; beside the slots that run there are some that only keep, the last of them what is to
stay, which makes place only for its like. A copy is made at once, so nothing refers to a slot afterwards: one
that runs is never written to, any other may be at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lineside.engine.base import Capabilities, PrefixCopy

# Below this a copy is not worth its calls: every chat template begins with a few tokens that all share.
SHORTEST_COPY = 8
# What is kept and never asked for has cost a copy for nothing: 3.3 ms of the 245 that a request of 143
# tokens takes (SmolLM2, measured). Beyond what it has saved it may cost this much of the time for reading.
TRIED = 1 / 256


@dataclass(slots=True)
class _Held:
    """The first `length` of `tokens` are cached. The list belongs to the sequence that wrote them.

    `lasting`: they are to stay. `awaited`: their sequence has lost its slot and is sure to come back.
    """

    tokens: list[int] = field(default_factory=list)
    length: int = 0
    used: int = 0
    lasting: bool = False
    awaited: bool = False


@dataclass(slots=True)
class Prefixes:
    """Every slot's cached tokens; the last `kept_slots` of the engine's take what is worth keeping."""

    capabilities: Capabilities
    _held: list[_Held] = field(init=False)
    _uses: int = 0
    _credit_ns: float = field(init=False)  # what keeping may still cost

    def __post_init__(self) -> None:
        only_kept = self.capabilities.kept_slots - self.capabilities.lasting_slots
        self._credit_ns = only_kept * self.capabilities.costs.copy(self.capabilities.max_seq_len)
        self.forget()

    def forget(self) -> None:
        """Nothing is known of any cache any more."""
        self._held = [_Held() for _ in range(self.capabilities.slots + self.capabilities.kept_slots)]

    def wrote(self, slot: int, tokens: list[int], length: int) -> None:
        """The slot's cache is now the first `length` of `tokens`, which only grow while it is."""
        length = min(length, self.capabilities.max_seq_len - 1)
        self._held[slot] = _Held(tokens, length, self._uses, self._held[slot].lasting)

    def awaits(self, slot: int) -> None:
        """The sequence in a slot loses it and will come back for what is cached there."""
        self._held[slot].awaited = True

    def has_come(self, tokens: list[int]) -> None:
        """The sequence of these tokens has come back for what was kept of it, or never will."""
        for held in self._held:
            if held.awaited and _common(held, tokens) == held.length:
                held.awaited = False

    def nearest(self, free: Sequence[int], tokens: list[int]) -> int:
        """The slot to begin in: the first, or, where caches cannot be copied, the one that holds most."""
        if self.capabilities.kept_slots:
            return free[0]
        return max(free, key=lambda slot: _common(self._held[slot], tokens))

    def most(self, tokens: list[int]) -> int:
        """How many of `tokens` some cache begins with."""
        return max(_common(held, tokens) for held in self._held)

    def begin(
        self, slot: int, tokens: list[int], most: int, *, lasting: bool = False
    ) -> tuple[int, list[PrefixCopy]]:
        """A sequence begins in `slot`: how many of its tokens are cached there, at most `most`, after copies.

        What the slot held goes to a slot that keeps, where that is worth more than what is there. `lasting`:
        what is now read is to stay.
        """
        self._uses += 1
        own = self._held[slot]
        source, reused = slot, min(_common(own, tokens), most)
        if self.capabilities.kept_slots:
            source, reused = self._longest(slot, reused, tokens, most)
        copies = self._keep(slot, source, tokens)
        self._earn(source, reused, len(tokens) - reused)
        self._held[source].used = self._uses
        self.has_come(tokens)
        if source != slot:
            copies.append(PrefixCopy(source, slot, reused))
        self._held[slot] = _Held(tokens, reused, self._uses, lasting)
        return reused, copies

    def _longest(self, slot: int, reused: int, tokens: list[int], most: int) -> tuple[int, int]:
        """The slot that holds most of `tokens`, and how much; `slot` unless another has clearly more."""
        found = [min(_common(held, tokens), most) for held in self._held]
        source = max(range(len(found)), key=found.__getitem__)
        more, costs = found[source] - reused, self.capabilities.costs
        pays = more >= SHORTEST_COPY and costs.copy(found[source]) < costs.chunk(more)
        return (source, found[source]) if pays else (slot, reused)

    def _keep(self, slot: int, source: int, tokens: list[int]) -> list[PrefixCopy]:
        """Save what `slot` holds before `tokens` go there: if it is to stay, or worth more than what is."""
        own = self._held[slot]
        least = self._place_to_stay(slot, source) if own.lasting else self._place(slot, source, tokens)
        if least is None:
            return []
        if not own.lasting and not own.awaited:
            self._credit_ns -= self.capabilities.costs.copy(own.length)
        self._held[least] = _Held(own.tokens[: own.length], own.length, own.used, own.lasting, own.awaited)
        return [PrefixCopy(slot, least, own.length)]

    def _place(self, slot: int, source: int, tokens: list[int]) -> int | None:
        """Where to keep what `slot` holds and `tokens` do not; None where it is worth less than what is kept.

        Or where a copy there and one back cost more than reading it again, or where keeping has not paid.
        """
        own, costs, first = self._held[slot], self.capabilities.costs, self.capabilities.slots
        copy_ns = costs.copy(own.length)
        if 2 * copy_ns >= costs.chunk(own.length) or (copy_ns > self._credit_ns and not own.awaited):
            return None
        kept = [keeper for keeper in range(first, self._first_lasting) if keeper != source]
        if not kept or own.length < SHORTEST_COPY or _common(own, tokens) * 2 > own.length:
            return None
        least = min((*kept, slot), key=self._worth)
        return None if least == slot or not self._worth(slot)[1] else least

    def _earn(self, source: int, reused: int, unread: int) -> None:
        """More may be kept: for what a kept cache has saved, and a little for what has to be read."""
        costs = self.capabilities.costs
        earned = TRIED * costs.chunk(unread)
        if self.capabilities.slots <= source < self._first_lasting and not self._held[source].awaited:
            earned += costs.chunk(reused) - costs.copy(reused)
        self._credit_ns = min(self._credit_ns + earned, costs.chunk(self.capabilities.max_seq_len))

    def _place_to_stay(self, slot: int, source: int) -> int | None:
        """Where to keep what is to stay; None where it is kept already."""
        own, places = self._held[slot], range(self._first_lasting, len(self._held))
        if any(_common(self._held[place], own.tokens, own.length) == own.length for place in places):
            return None
        others = [place for place in places if place != source]
        return min(others, key=lambda place: self._held[place].used, default=None)

    @property
    def _first_lasting(self) -> int:
        return len(self._held) - self.capabilities.lasting_slots

    def _worth(self, slot: int) -> tuple[bool, bool, int]:
        """Smaller is given up first: what nobody is sure to come back for, then what is mostly held elsewhere
        too, then what was used longest ago.
        """
        held = self._held[slot]
        others = (other for index, other in enumerate(self._held) if index != slot)
        shared = max(_common(other, held.tokens, held.length) for other in others)
        return held.awaited, shared * 2 <= held.length and held.length > 0, held.used


def _common(held: _Held, tokens: list[int], most: int | None = None) -> int:
    """How many tokens of a cache `tokens` begin with, looking at `most` of these."""
    low, high = 0, min(held.length, len(tokens) if most is None else most)
    if held.tokens[:high] == tokens[:high]:
        return high
    while low + 1 < high:  # the first `low` are alike, the first `high` are not
        middle = (low + high) // 2
        if held.tokens[low:middle] == tokens[low:middle]:
            low = middle
        else:
            high = middle
    return low
