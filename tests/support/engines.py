"""A deterministic engine for tests whose subject is timing, order or failure; never for answers' quality."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lineside.engine.base import Capabilities, Costs, EngineFaultError, Extension, PrefixCopy


def next_token(tokens: Sequence[int], vocab_size: int) -> int:
    """The token that CountingEngine makes likeliest after `tokens`: it depends on every one of them."""
    digest = hashlib.sha256(np.asarray(tokens, np.int64).tobytes()).digest()
    return int.from_bytes(digest[:4], "little") % vocab_size


class CountingEngine:
    """Remembers what each slot's cache holds and checks the contract on every call."""

    def __init__(
        self,
        *,
        slots: int = 4,
        max_seq_len: int = 64,
        max_chunk_tokens: int = 16,
        vocab_size: int = 97,
        costs: Costs | None = None,
        choose: Callable[[Sequence[int]], int] | None = None,
        kept_slots: int = 0,
        lasting_slots: int = 0,
    ) -> None:
        self.capabilities = Capabilities(
            name="counting",
            device="test",
            slots=slots,
            max_seq_len=max_seq_len,
            max_chunk_tokens=max_chunk_tokens,
            vocab_size=vocab_size,
            mixed_chunks=False,
            cache_bytes=0,
            costs=costs or Costs(tuple(1000 + 100 * n for n in range(slots)), 1000, 100),
            kept_slots=kept_slots,
            lasting_slots=lasting_slots,
        )
        self.batches: list[list[Extension]] = []
        self.fail_next = 0
        self.gate = threading.Event()
        self.gate.set()
        self._choose = choose or (lambda tokens: next_token(tokens, vocab_size))
        self.copies: list[PrefixCopy] = []
        self._caches: list[list[int]] = [[] for _ in range(slots + kept_slots)]

    def warm_up(self) -> None:
        """Nothing to measure."""

    def forward(self, batch: Sequence[Extension]) -> list[NDArray[np.float32]]:
        """Append and point at the next token."""
        self.gate.wait(10)
        if self.fail_next:
            self.fail_next -= 1
            raise EngineFaultError("run model", "made to fail", "")
        self.batches.append(list(batch))
        slots = [extension.slot for extension in batch]
        assert max(slots) < self.capabilities.slots
        assert len(set(slots)) == len(slots)
        assert sum(len(e.tokens) for e in batch if len(e.tokens) > 1) <= self.capabilities.max_chunk_tokens
        return [self._extend(extension) for extension in batch]

    def copy_prefix(self, copy: PrefixCopy) -> None:
        """Copy what is there."""
        self.copies.append(copy)
        source = self._caches[copy.source]
        assert 0 < copy.length <= len(source), "what is copied was never written"
        assert copy.source != copy.target
        self._caches[copy.target] = source[: copy.length]

    def close(self) -> None:
        """Nothing to release."""

    def _extend(self, extension: Extension) -> NDArray[np.float32]:
        cache = self._caches[extension.slot]
        assert len(extension.tokens) >= 1
        assert extension.past_len <= len(cache), "a hole in the cache"
        del cache[extension.past_len :]
        cache.extend(extension.tokens)
        assert len(cache) <= self.capabilities.max_seq_len, "past the end of the cache"
        logits = np.zeros((len(extension.rows), self.capabilities.vocab_size), np.float32)
        for index, row in enumerate(extension.rows):
            logits[index, self._choose(cache[: extension.past_len + row + 1])] = 10.0
        return logits
