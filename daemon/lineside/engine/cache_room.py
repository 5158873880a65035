"""How many caches a budget of memory has room for. Knows no engine and no device."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.config import EngineConfig
from lineside.engine.bundle import Bundle, BundleError, Manifest

HALF_BYTES, FLOAT_BYTES = 2, 4


@dataclass(frozen=True, slots=True)
class Room:
    """Caches of sequences that run, and of beginnings that are kept, in a budget of bytes (0: any).

    `lasting_slots` of the kept ones are for the manuals' entries.
    """

    slots: int
    kept_slots: int
    budget_bytes: int
    lasting_slots: int = 0

    def check(self, bundle: Bundle, taken_bytes: int) -> None:
        """Refuse an engine whose caches take more than that, because its plans are for more sequences."""
        if self.budget_bytes and taken_bytes > self.budget_bytes:
            message = (
                f"the caches take {taken_bytes >> 20} MiB, [engine] kv_budget_mb allows "
                f"{self.budget_bytes >> 20}"
            )
            hint = f"raise it, or compile plans for fewer sequences: lineside-build compile {bundle.path}"
            raise BundleError("size the cache", message, hint)


def slot_bytes(manifest: Manifest, item_bytes: int) -> int:
    """Keys and values of one sequence, as long as this bundle allows."""
    sizes = manifest.geometry
    return 2 * sizes.layers * sizes.kv_heads * sizes.head_dim * item_bytes * manifest.max_seq_len


def room_for(manifest: Manifest, config: EngineConfig, item_bytes: int, kept_entries: int = 0) -> Room:
    """As configured, or what the budget has room for: entries go first, then other beginnings, then slots.

    Raises BundleError where it has room for no sequence.
    """
    budget, each = config.kv_budget_mb << 20, slot_bytes(manifest, item_bytes)
    if not budget:
        return Room(config.slots, config.kept_prefixes + kept_entries, 0, kept_entries)
    fitting = budget // each
    if not fitting:
        needed = -(-each >> 20)
        message = (
            f"[engine] kv_budget_mb = {config.kv_budget_mb} has room for no sequence, which takes {needed}"
        )
        hint = f"set it to {needed} or more, or build the bundle with a smaller max_seq_len"
        raise BundleError("size the cache", message, hint)
    slots = min(config.slots, fitting)
    prefixes = min(config.kept_prefixes, fitting - slots)
    entries = min(kept_entries, fitting - slots - prefixes)
    return Room(slots, prefixes + entries, budget, entries)
