"""The engine on TensorRT. Knows nothing of scheduling, sampling or text.

Plans are static: steps of 1, 2, 4, ... sequences and chunks of one sequence. A batch becomes one step over
a span of slots and a call for each chunk, each captured as a CUDA graph. Slots of the span that are not
extended run along and change nothing. All stays on the device but token ids, and logits that somebody asks
for.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lineside.engine.base import Capabilities, Costs, EngineFaultError, Extension, PrefixCopy
from lineside.engine.bundle import WEIGHTS, Bundle, BundleError, Plan
from lineside.engine.device_rows import DeviceRow, Reader
from lineside.engine.plans import Target, compile_command, fitting_plans, together, usable_plans
from lineside.engine.site import Site, find_site
from lineside.engine.trt_plan import Cache, Job, PlanRunner, Turn, aligned, open_plan, turns_of
from lineside.engine.weights import Weights

if TYPE_CHECKING:
    from lineside.engine.base import Logits

log = logging.getLogger(__name__)

WARM_UP_RUNS = 5
ROWS_TIMED = 8
_FLOAT = 4
_LOWER = "lower [engine] slots, compile with a smaller --max-seq-len, or take a smaller model"


class TensorRtEngine:
    """Serves a bundle's plans. Raises BundleError where it cannot: no TensorRT, no GPU, no plan, no room.

    After a CUDA error everything is loaded anew, once; what the caches held is lost. A second error, or one
    that the context does not survive, is raised as it is: whoever supervises the process starts it again.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        slots: int,
        max_chunk_tokens: int,
        site: Site | None = None,
        kept_slots: int = 0,
    ) -> None:
        self._bundle = bundle
        self._site = site or find_site(bundle)
        gpu, trt = self._site.gpu, self._site.trt
        plans = usable_plans(bundle, Target(gpu, trt.name, trt.version))
        self._plans = fitting_plans(plans, slots)
        # The largest step may have more sequences than there are slots: it needs their caches all the same.
        self._cached_len = [0] * max(slots + kept_slots, *(plan.batch for plan in self._plans))
        self._rebuilt = False
        if not all(plan.verified_on for plan in self._plans):
            log.warning("these plans have not been compared with another engine on this device")
        self._load()
        self._capabilities = Capabilities(
            name="tensorrt",
            device=gpu.name,
            slots=slots,
            max_seq_len=self._cache.max_seq_len,
            max_chunk_tokens=min(max_chunk_tokens, self._chunks[-1].plan.chunk),
            vocab_size=bundle.manifest.geometry.vocab_size,
            mixed_chunks=False,
            cache_bytes=self._cache.size,
            costs=Costs(step_ns=(1,) * slots, chunk_fixed_ns=0, chunk_token_ns=1),
            kept_slots=kept_slots,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Static facts, and the costs that `warm_up` measured."""
        return self._capabilities

    @property
    def bundle(self) -> Bundle:
        """What it serves."""
        return self._bundle

    @property
    def device_bytes(self) -> int:
        """Device memory that this engine took, CUDA's own context left out; after `warm_up` with graphs."""
        return self._taken_bytes

    def warm_up(self) -> None:
        """Run every step and chunk on all slots that it can span, which captures it; measure costs."""
        slots = self._capabilities.slots
        for first, end in itertools.combinations(range(slots + 1), 2):
            self.forward([Extension(slot, 0, (0,), ()) for slot in range(first, end)])
        for slot in range(slots):
            for runner in self._chunks:
                self.forward([Extension(slot, 0, (0,) * runner.plan.chunk, ())])
        steps = tuple(
            self._time([Extension(slot, 0, (0,), (0,)) for slot in range(count)])
            for count in range(1, slots + 1)
        )
        chunk = self._capabilities.max_chunk_tokens
        # A chunk costs the same whatever its length: the shape is static.
        chunk_ns = self._time([Extension(0, 0, (0,) * chunk, (chunk - 1,))])
        # A plan gives a few rows a call: each further row is a share of the same call once more.
        rows = min(ROWS_TIMED, chunk)
        rows_ns = self._time([Extension(0, 0, (0,) * rows, tuple(range(rows)))])
        row_ns = max(rows_ns - chunk_ns, 0) // (rows - 1)
        costs = Costs(
            step_ns=steps,
            chunk_fixed_ns=chunk_ns,
            chunk_token_ns=1,
            row_ns=row_ns,
            copy_fixed_ns=self._time_copy(),
        )
        self._capabilities = replace(self._capabilities, costs=costs)
        with self._device.active():
            self._taken_bytes = self._free_bytes - self._device.free_bytes()

    def forward(self, batch: Sequence[Extension]) -> list[Sequence[Logits]]:
        """Extend every sequence of the batch; see the contract in engine.base."""
        try:
            with self._device.active():
                return self._forward(batch)
        except self._device.faults as error:
            raise self._after_fault(error) from error

    def copy_prefix(self, copy: PrefixCopy) -> None:
        """Make the beginning of a slot's cache that of another: the whole of it, which lies together."""
        try:
            with self._device.active():
                for source, target in self._cache.copies(copy.source, copy.target):
                    self._device.copy(target, source, self._cache.slot_bytes)
                self._device.wait()
        except self._device.faults as error:
            raise self._after_fault(error) from error
        self._cached_len[copy.target] = copy.length

    def close(self) -> None:
        """Release device memory."""
        if "_device" not in self.__dict__:
            return
        with self._device.active():
            for name in ("_steps", "_chunks", "_reader", "_runtime", "_memory"):
                self.__dict__.pop(name, None)

    def _load(self) -> None:
        """Put weights, cache and plans on the device."""
        device = self._device = self._site.open_device()
        try:
            with device.active():
                self._free_bytes = device.free_bytes()
                self._check_room(self._free_bytes)
                self._fill_device()
                self._taken_bytes = self._free_bytes - device.free_bytes()
        except device.out_of_memory as error:
            raise BundleError("load plans", f"out of device memory: {error}", _LOWER) from error

    def _empty_cache(self, address: int) -> Cache:
        return Cache(
            address, self._bundle.manifest.geometry, len(self._cached_len), self._plans[0].max_seq_len
        )

    def _check_room(self, free: int) -> None:
        """Refuse with the numbers before anything is loaded."""
        cache = self._empty_cache(0).size
        plans = sum(self._bundle.file(plan.file).stat().st_size for plan in self._plans)
        if cache + plans > free:
            message = (
                f"plans take {plans >> 20} MiB and the cache {cache >> 20} MiB of device memory,"
                f" {free >> 20} MiB are free"
            )
            raise BundleError("load plans", message, _LOWER)

    def _fill_device(self) -> None:
        device, vocab_size = self._device, self._bundle.manifest.geometry.vocab_size
        self._memory = [device.allocate(self._empty_cache(0).size)]
        self._cache = self._empty_cache(int(self._memory[0]))
        self._reader = Reader(device, vocab_size)
        api = self._site.trt.api
        self._runtime = api.Runtime(api.Logger(api.Logger.WARNING))
        weights: dict[str, int] = {}
        runners = [self._runner(parts, weights) for parts in together(self._plans)]
        scratch = max(runner.scratch_bytes for runner in runners)
        self._memory.append(device.allocate(scratch))
        for runner in runners:
            runner.use_scratch(int(self._memory[-1]), scratch)
        self._steps = [runner for runner in runners if runner.plan.role == "step"]
        self._chunks = [runner for runner in runners if runner.plan.role == "chunk"]
        # A step's rows, then a place for each slot's chunk.
        self._row_bytes = vocab_size * _FLOAT
        self._step_bytes = aligned(self._steps[-1].rows * self._row_bytes)
        self._chunk_bytes = aligned(max(runner.rows for runner in self._chunks) * self._row_bytes)
        self._memory.append(device.allocate(self._step_bytes + self._cache.slots * self._chunk_bytes))
        self._logits = int(self._memory[-1])

    def _runner(self, parts: Sequence[Plan], weights: dict[str, int]) -> PlanRunner:
        turns: list[Turn] = []
        hint = f"compile again, on this device: {compile_command(self._bundle)}"
        for plan in parts:
            engine = self._runtime.deserialize_cuda_engine(self._bundle.file(plan.file).read_bytes())
            if engine is None:
                raise BundleError("load plans", f"TensorRT refuses {plan.file}; its log says why", hint)
            turns += turns_of(open_plan(self._site.trt.api, engine, plan))
        self._upload_weights(turns, weights)
        try:
            return PlanRunner(
                self._device, turns, self._cache, weights, self._bundle.manifest.geometry.vocab_size
            )
        except KeyError as error:
            message = f"{parts[0].file} is of another version of Lineside: it has {error}"
            raise BundleError("load plans", message, hint) from error

    def _upload_weights(self, turns: Sequence[Turn], weights: dict[str, int]) -> None:
        """Those that this plan takes as inputs and no other before it did."""
        wanted = {own for turn in turns for _, own in turn.names if own.startswith("weights.")} - set(weights)
        if not wanted:
            return
        store = Weights(self._bundle.file(WEIGHTS))
        for name in sorted(wanted):
            values = store.fp16(name.removeprefix("weights."))
            self._memory.append(self._device.allocate(values.nbytes))
            weights[name] = int(self._memory[-1])
            self._device.upload_now(weights[name], values)

    def _forward(self, batch: Sequence[Extension]) -> list[Sequence[Logits]]:
        result: dict[int, Sequence[Logits]] = {}
        steps = [extension for extension in batch if len(extension.tokens) == 1]
        if steps:
            result |= self._step(steps)
        for extension in batch:
            if len(extension.tokens) > 1:
                # A place for each slot: it is part of what was captured for the slot.
                place = self._logits + self._step_bytes + extension.slot * self._chunk_bytes
                result[extension.slot] = self._chunk(extension, place)
        return [result[extension.slot] for extension in batch]

    def _step(self, steps: Sequence[Extension]) -> dict[int, Sequence[Logits]]:
        """All of them in one call of the smallest step that spans their slots."""
        first = min(extension.slot for extension in steps)
        needed = max(extension.slot for extension in steps) - first + 1
        runner = next(runner for runner in self._steps if runner.plan.batch >= needed)
        batch = runner.plan.batch
        first = min(first, self._cache.slots - batch)
        tokens: list[Sequence[int]] = [(0,)] * batch
        # Where a plan writes its cache in place, an idle row lands just after what its slot holds.
        past_lens = [
            min(held, self._cache.max_seq_len - 1) for held in self._cached_len[first : first + batch]
        ]
        counts = [0] * batch
        for extension in steps:
            index = extension.slot - first
            tokens[index], past_lens[index], counts[index] = extension.tokens, extension.past_len, 1
            self._cached_len[extension.slot] = extension.past_len + 1
        found = runner.run(Job(first, tokens, past_lens, counts, range(batch)), self._logits)
        rows = self._rows(found, self._logits)
        return {e.slot: rows[e.slot - first : e.slot - first + len(e.rows)] for e in steps}

    def _chunk(self, extension: Extension, place: int) -> Sequence[Logits]:
        """In pieces of what a plan takes."""
        rows: list[Logits] = []
        start, end = 0, len(extension.tokens)
        while start < end:
            left = end - start
            runner = next((r for r in self._chunks if r.plan.chunk >= left), self._chunks[-1])
            piece = Extension(
                extension.slot,
                extension.past_len + start,
                extension.tokens[start : start + runner.plan.chunk],
                tuple(row - start for row in extension.rows if 0 <= row - start < runner.plan.chunk),
            )
            found = (
                self._piece(runner, piece, place) if runner.fits(piece.past_len) else self._one_by_one(piece)
            )
            rows.extend(found)
            start += runner.plan.chunk
            if start < end:  # what comes next is written to the same place
                _keep(rows)
        self._cached_len[extension.slot] = extension.past_len + end
        return rows

    def _piece(self, runner: PlanRunner, piece: Extension, place: int) -> list[Logits]:
        """One call, and more of the same for more rows than it gives, which change nothing else."""
        rows: list[Logits] = []
        for begin in range(0, max(len(piece.rows), 1), runner.rows):
            _keep(rows)
            wanted = piece.rows[begin : begin + runner.rows]
            job = Job(piece.slot, [piece.tokens], [piece.past_len], [len(piece.tokens)], wanted)
            rows.extend(self._rows(runner.run(job, place), place))
        return rows

    def _one_by_one(self, piece: Extension) -> list[Logits]:
        """At the cache's end, where a plan that writes in place would write past it."""
        rows: list[Logits] = []
        for index, token in enumerate(piece.tokens):
            wanted = (0,) if index in piece.rows else ()
            step = Extension(piece.slot, piece.past_len + index, (token,), wanted)
            rows.extend(self._step([step])[piece.slot])
            _keep(rows)
        return rows

    def _rows(self, found: Sequence[tuple[int, float]], place: int) -> list[Logits]:
        return [
            DeviceRow(self._reader, place + index * self._row_bytes, token, logprob)
            for index, (token, logprob) in enumerate(found)
        ]

    def _after_fault(self, error: Exception) -> Exception:
        """Load everything anew at the first fault; a second one is the daemon's end.

        So is one that ends the context: TensorRT's own hold of it cannot be let go within a process.
        """
        if self._rebuilt or not self._device.works():
            return error
        self._rebuilt = True
        log.error("CUDA failed: %s; loading the plans again", error)
        self.close()
        self._load()
        self.warm_up()
        return EngineFaultError("run plan", str(error), "see the log; the daemon goes on", caches_lost=True)

    def _time(self, batch: Sequence[Extension]) -> int:
        """Median nanoseconds of a step; its first two runs prepare and capture."""
        for _ in range(2):
            self.forward(batch)
        return _median_ns(lambda: self.forward(batch))

    def _time_copy(self) -> int:
        """The same for a cache's copy, which is always of the whole."""
        if not self._capabilities.kept_slots:
            return 0
        copy = PrefixCopy(0, self._capabilities.slots, 1)
        return _median_ns(lambda: self.copy_prefix(copy))


def _median_ns(act: Callable[[], object]) -> int:
    samples = []
    for _ in range(WARM_UP_RUNS):
        begun = time.perf_counter_ns()
        act()
        samples.append(time.perf_counter_ns() - begun)
    return round(statistics.median(samples))


def _keep(rows: Sequence[Logits]) -> None:
    """Bring rows to the host before their place on the device is used again."""
    for row in rows:
        np.asarray(row)
