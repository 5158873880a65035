"""The engine on ONNX Runtime, on the CPU or through CUDA. Knows nothing of scheduling, sampling or text.

GroupQueryAttention takes a ragged batch of one-token steps, or one longer chunk of one sequence, but not both
in a call: a step is one batched call over a span of slots and one call for each longer chunk. The cache is
a buffer of our own that past and present are both bound to: ONNX Runtime extends it in place.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lineside.engine.base import Capabilities, Costs, EngineFaultError, Extension, PrefixCopy
from lineside.engine.bundle import WEIGHTS, Bundle
from lineside.engine.ort_session import open_session
from lineside.engine.pages import Pages, let_go
from lineside.engine.slot_cache import SlotCache

WARM_UP_RUNS, WARM_UP_NS = 3, 100_000_000
# Two lengths tell what a chunk costs at any: who waits for the daemon waits for these, too.
SHORT_CHUNK_TOKENS, LONG_CHUNK_TOKENS = 8, 32


class OnnxRuntimeEngine:
    """Serves a bundle's graph. Buffers outlive every call: ONNX Runtime keeps raw pointers to them.

    Caches can be copied where they are in host memory: ONNX Runtime has no call that copies on a device.
    """

    def __init__(  # noqa: PLR0913 all have names
        self,
        bundle: Bundle,
        *,
        slots: int,
        threads: int,
        max_chunk_tokens: int,
        provider: str = "cpu",
        kept_slots: int = 0,
        lasting_slots: int = 0,
    ) -> None:
        geometry = bundle.manifest.geometry
        max_seq_len = bundle.manifest.max_seq_len
        chunk = min(max_chunk_tokens, max_seq_len)
        self._session = open_session(bundle, threads, provider)
        self._weights = bundle.file(WEIGHTS)
        if provider != "cpu":
            kept_slots = lasting_slots = 0
        self._cache = SlotCache(self._session, provider, slots + kept_slots)
        self._cached_len = [0] * (slots + kept_slots)
        self._ids = np.zeros(max(slots, chunk), np.int64)
        self._rows = np.zeros(max(slots, chunk), np.int64)
        self._every_row = np.arange(slots, dtype=np.int64)  # what a step wants
        self._seqlens = np.zeros(slots, np.int32)
        self._total_len = np.zeros(1, np.int32)
        # A step batch writes at most one row a slot, the chunks after it at most their tokens.
        self._logits_pages = Pages((slots + chunk, geometry.vocab_size), np.float32)
        self._logits = self._logits_pages.array
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}
        # Of a batch's first step in host memory, with all that it reads and writes: always the same places.
        self._step_bindings: dict[tuple[int, int], ort.IOBinding] = {}
        self._capabilities = Capabilities(
            name="onnxruntime",
            device=provider,
            slots=slots,
            max_seq_len=max_seq_len,
            max_chunk_tokens=chunk,
            vocab_size=geometry.vocab_size,
            mixed_chunks=False,
            cache_bytes=self._cache.nbytes,
            costs=Costs(step_ns=(1,) * slots, chunk_fixed_ns=0, chunk_token_ns=1),
            kept_slots=kept_slots,
            lasting_slots=lasting_slots,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Static facts, and the costs that `warm_up` measured."""
        return self._capabilities

    def warm_up(self) -> None:
        """Time a step of one and of all slots, chunks of two lengths, what further rows cost, and copies."""
        slots = self._capabilities.slots
        chunk = min(LONG_CHUNK_TOKENS, self._capabilities.max_chunk_tokens)
        self.forward(
            [Extension(0, 0, (0,), (0,))]
        )  # reads every weight for the first time, perhaps from the disk
        short = min(SHORT_CHUNK_TOKENS, chunk // 2)
        one, full = self._time_step(1), self._time_step(slots)
        each = (full - one) / max(slots - 1, 1)
        short_ns, chunk_ns = self._time_chunk(short), self._time_chunk(chunk)
        rows_ns = self._time([Extension(0, 0, (0,) * short, tuple(range(short)))])
        token_ns = max((chunk_ns - short_ns) // (chunk - short), 1)
        copy_ns, copied_ns = self._time_copy(1), self._time_copy(chunk)
        copy_token_ns = max(copied_ns - copy_ns, 0) // (chunk - 1)
        costs = Costs(
            step_ns=tuple(round(one + each * index) for index in range(slots)),
            chunk_fixed_ns=max(short_ns - short * token_ns, 0),
            chunk_token_ns=token_ns,
            row_ns=max(rows_ns - short_ns, 0) // (short - 1),
            copy_fixed_ns=max(copy_ns - copy_token_ns, 0),
            copy_token_ns=copy_token_ns,
        )
        self._capabilities = replace(self._capabilities, costs=costs)
        self._forget()

    def forward(self, batch: Sequence[Extension]) -> list[NDArray[np.float32]]:
        """Extend every sequence of the batch; see the contract in engine.base."""
        steps = sorted((e for e in batch if len(e.tokens) == 1), key=lambda e: e.slot)
        result: dict[int, NDArray[np.float32]] = {}
        used = 0
        for span in self._spans(steps):
            logits = self._run_span(span, used)
            used += len(logits)
            for extension in span:
                row = extension.slot - span[0].slot
                result[extension.slot] = logits[row : row + len(extension.rows)]
        for extension in batch:
            if len(extension.tokens) > 1:
                result[extension.slot] = self._run_chunk(extension, used)
                used += len(extension.rows)
        return [result[extension.slot] for extension in batch]

    def copy_prefix(self, copy: PrefixCopy) -> None:
        """Make the beginning of a slot's cache that of another."""
        self._cache.copy(copy)
        self._cached_len[copy.target] = copy.length

    def close(self) -> None:
        """Drop the session and its bindings before the buffers that they point to."""
        self._bindings.clear()
        self._step_bindings.clear()
        self.__dict__.pop("_session", None)

    def _forget(self) -> None:
        """Give back what the measuring wrote: most of its slots and rows are not written again for long.

        And the weights that were read to be packed: of the file only rows of the embedding are read again.
        """
        let_go(self._weights)
        self._cached_len = [0] * len(self._cached_len)
        self._cache.clear()
        self._logits_pages.clear()

    def _spans(self, steps: Sequence[Extension]) -> list[list[Extension]]:
        """Cut ascending one-token extensions into calls. A call over a gap of slots computes them too."""
        costs = self._capabilities.costs
        spans: list[list[Extension]] = []
        for extension in steps:
            if spans:
                first, last = spans[-1][0].slot, spans[-1][-1].slot
                apart = costs.step(last - first + 1) + costs.step(1)
                idle = range(last + 1, extension.slot)
                # An idle slot's row lands just after its cached tokens, where nothing is read before it is
                # written again; a full cache has no such place.
                room = all(self._cached_len[slot] < self._capabilities.max_seq_len for slot in idle)
                if room and costs.step(extension.slot - first + 1) <= apart:
                    spans[-1].append(extension)
                    continue
            spans.append([extension])
        return spans

    def _run_span(self, span: Sequence[Extension], logits_row: int) -> NDArray[np.float32]:
        first = span[0].slot
        past = self._cached_len[first : span[-1].slot + 1]
        ids = [0] * len(past)
        for extension in span:
            ids[extension.slot - first] = extension.tokens[0]
            past[extension.slot - first] = extension.past_len
            self._cached_len[extension.slot] = extension.past_len + 1
        # Whole lists: an array takes its time for each item that is set alone.
        self._ids[: len(ids)], self._seqlens[: len(ids)] = ids, past
        self._total_len[0] = max(past) + 1
        return self._run(first, (len(ids), 1), self._every_row[: len(ids)], logits_row)

    def _run_chunk(self, extension: Extension, logits_row: int) -> NDArray[np.float32]:
        count = len(extension.tokens)
        self._ids[:count] = extension.tokens
        self._seqlens[0] = extension.past_len + count - 1
        self._total_len[0] = extension.past_len + count
        self._cached_len[extension.slot] = extension.past_len + count
        # The graph always computes a row; one that nobody asked for is dropped.
        rows = extension.rows or (count - 1,)
        self._rows[: len(rows)] = rows
        logits = self._run(extension.slot, (1, count), self._rows[: len(rows)], logits_row)
        return logits[: len(extension.rows)]

    def _run(
        self, slot: int, shape: tuple[int, int], rows: NDArray[np.int64], logits_row: int
    ) -> NDArray[np.float32]:
        """One device call over `shape` = [sequences, tokens] from `slot` on; logits [rows, vocab_size]."""
        logits = self._logits[logits_row : logits_row + len(rows)]
        lasting = shape[1] == 1 and logits_row == 0 and self._capabilities.device == "cpu"
        binding = self._step_bindings.get((slot, shape[0])) if lasting else None
        if binding is None:
            binding = self._bound(slot, shape, rows, logits, lasting=lasting)
        try:
            self._session.run_with_iobinding(binding)
        # ONNX Runtime raises its own classes and plain RuntimeError, with no common base of their own.
        except Exception as error:
            raise EngineFaultError("run model", str(error), "see the log; the daemon goes on") from error
        return logits

    def _bound(
        self,
        slot: int,
        shape: tuple[int, int],
        rows: NDArray[np.int64],
        logits: NDArray[np.float32],
        *,
        lasting: bool,
    ) -> ort.IOBinding:
        """What a call over `shape` reads and writes. `lasting`: it is the same whenever this is called."""
        sequences = shape[0]
        binding = self._new_binding(slot, sequences) if lasting else self._binding(slot, sequences)
        # Where they have to cross to a device, they do it here.
        _bind(binding.bind_input, "input_ids", self._ids, shape)
        _bind(binding.bind_input, "rows", rows, rows.shape)
        _bind(binding.bind_input, "seqlens_k", self._seqlens, (sequences,))
        _bind(binding.bind_input, "total_len", self._total_len, ())
        _bind(binding.bind_output, "logits", logits, logits.shape)
        if lasting:
            self._step_bindings[slot, sequences] = binding
        return binding

    def _binding(self, slot: int, sequences: int) -> ort.IOBinding:
        """The cache of `sequences` slots from `slot` on, bound once and kept."""
        binding = self._bindings.get((slot, sequences))
        if binding is None:
            binding = self._bindings[slot, sequences] = self._new_binding(slot, sequences)
        return binding

    def _new_binding(self, slot: int, sequences: int) -> ort.IOBinding:
        binding = self._session.io_binding()
        self._cache.bind(binding, slot, sequences)
        return binding

    def _time_step(self, sequences: int) -> int:
        return self._time([Extension(slot, 0, (0,), (0,)) for slot in range(sequences)])

    def _time_chunk(self, tokens: int) -> int:
        return self._time([Extension(0, 0, (0,) * tokens, (tokens - 1,))])

    def _time_copy(self, tokens: int) -> int:
        if not self._capabilities.kept_slots:
            return 0
        copy = PrefixCopy(0, self._capabilities.slots, tokens)
        return _median_ns(lambda: self.copy_prefix(copy))

    def _time(self, batch: Sequence[Extension]) -> int:
        return _median_ns(lambda: self.forward(batch))


def _median_ns(act: Callable[[], object]) -> int:
    """Median nanoseconds of a call. Its first run, which allocates, is left out unless it is a long one: what
    it allocates is little beside that, and who waits for the daemon waits for these runs.
    """
    samples: list[int] = []
    while len(samples) <= WARM_UP_RUNS and sum(samples) < WARM_UP_NS:
        begun = time.perf_counter_ns()
        act()
        samples.append(time.perf_counter_ns() - begun)
    return round(statistics.median(samples[1:] or samples))


def _bind(bind: object, name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Bind memory of ours by pointer; `array` must outlive the binding."""
    bind(name, "cpu", 0, array.dtype.type, list(shape), array.ctypes.data)  # type: ignore[operator]
