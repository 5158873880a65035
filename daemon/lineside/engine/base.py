"""The engine contract. Knows nothing of scheduling, sampling or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lineside.errors import LinesideError

if TYPE_CHECKING:  # the scheduler reads this module, and knows no arrays
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    Logits: TypeAlias = "NDArray[np.float32] | DeviceLogits"
    Rows: TypeAlias = "NDArray[np.float32] | Sequence[Logits]"


class EngineFaultError(LinesideError):
    """A step failed inside the engine: its sequences are lost, the engine may still serve others.

    `caches_lost`: so is what every other slot had cached.
    """

    def __init__(self, operation: str, message: str, hint: str = "", *, caches_lost: bool = False) -> None:
        super().__init__(operation, message, hint)
        self.caches_lost = caches_lost


@dataclass(frozen=True, slots=True)
class Extension:
    """One sequence's part of a step: append `tokens` to the `past_len` tokens that `slot` already caches.

    `rows` are the indices into `tokens` whose logits are wanted, ascending; empty while a prompt is not
    yet complete. The engine keeps no lengths: going back is a smaller `past_len` in a later step.
    """

    slot: int
    past_len: int
    tokens: Sequence[int]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrefixCopy:
    """What the first `length` tokens left in the cache of slot `source` is wanted in slot `target` too."""

    source: int
    target: int
    length: int


class DeviceLogits(Protocol):
    """One position's logits that have stayed on a device; what is asked for comes to the host."""

    def best(self) -> tuple[int, float]:
        """The likeliest token and its probability among all."""

    def __getitem__(self, ids: NDArray[np.intp], /) -> NDArray[np.float32]:
        """The logits of some ids."""

    def __array__(self) -> NDArray[np.float32]:
        """All of them, [vocab_size]."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured cost of the two kinds of device call, in nanoseconds.

    `step_ns[b - 1]` is a call of one token for each of b sequences. A chunk of n tokens of one sequence
    costs about `chunk_fixed_ns + n * chunk_token_ns`, and `row_ns` more for each row wanted beside the first.
    The beginning of a cache is copied from slot to slot in `copy_fixed_ns + n * copy_token_ns`.
    """

    step_ns: tuple[int, ...]
    chunk_fixed_ns: int
    chunk_token_ns: int
    row_ns: int = 0
    copy_fixed_ns: int = 0
    copy_token_ns: int = 0

    def step(self, sequences: int) -> int:
        """Nanoseconds for one token of each of `sequences` sequences (0 for none)."""
        if sequences == 0:
            return 0
        return self.step_ns[min(sequences, len(self.step_ns)) - 1]

    def chunk(self, tokens: int, rows: int = 1) -> int:
        """Nanoseconds for `tokens` tokens of one sequence."""
        if tokens <= 1:
            return self.step(tokens)
        return self.chunk_fixed_ns + tokens * self.chunk_token_ns + (rows - 1) * self.row_ns

    def copy(self, tokens: int) -> int:
        """Nanoseconds for copying what is cached of `tokens` tokens to another slot."""
        return self.copy_fixed_ns + tokens * self.copy_token_ns


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do and what it costs.

    `mixed_chunks`: one device call can extend several sequences by several tokens each. Where it cannot,
    each longer chunk is a call of its own and a step costs `costs.step` plus `costs.chunk` for each.
    `kept_slots` more slots, numbered after the others, hold what is copied there and are never extended; 0
    where nothing can be copied. The last `lasting_slots` of them are for what is to stay.
    """

    name: str
    device: str
    slots: int
    max_seq_len: int
    max_chunk_tokens: int
    vocab_size: int
    mixed_chunks: bool
    cache_bytes: int
    costs: Costs
    kept_slots: int = 0
    lasting_slots: int = 0


class Engine(Protocol):
    """Owned by one thread; no method is called from two threads at once."""

    @property
    def capabilities(self) -> Capabilities:
        """Static facts, and the costs that `warm_up` measured."""

    def warm_up(self) -> None:
        """Run every kind of call once and measure its cost. Called once, before the first request."""

    def forward(self, batch: Sequence[Extension]) -> Sequence[Rows]:
        """Extend every sequence of the batch; for each extension the logits [vocab_size] of each of its rows.

        They are views that are valid until the next call. Each slot appears at most once.
        Raises EngineFaultError when the device call fails.
        """

    def copy_prefix(self, copy: PrefixCopy) -> None:
        """Make the beginning of a slot's cache that of another. What the target held is lost.

        Either may be a kept slot; the target does not run. Raises EngineFaultError like `forward`.
        """

    def close(self) -> None:
        """Release device memory. Idempotent."""
