"""One TensorRT plan: its buffers bound, run, its cache appended to. Knows no scheduling and no text.

Graphs come in two forms (lineside_models.graph): `plain` reads the cache and gives the new keys and values as
outputs, which we append; `native` writes the cache in place. A plan may be several parts that hand the
residual stream on; one that repeats is written as layer 0 and runs as each layer in turn.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lineside.engine.bundle import Geometry, Plan

if TYPE_CHECKING:
    from lineside.engine.cuda import Device

_INT = 4
_HALF = 2
_VECTOR_BYTES = 16
_ALIGNMENT = 256
_SEEN_BYTES = 32 * 12  # what `best` of cuda.py keeps of a row between its kernels
_PER_ALIGNMENT = _ALIGNMENT // _INT
_RESIDUALS = ("taken.high", "taken.low", "handed.high", "handed.low")
_LAYER = re.compile(r"\b(layers|cache|new)\.0\.")


def aligned(size: int) -> int:
    """`size` bytes, rounded up to where TensorRT lets the next buffer begin."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class Cache:
    """All keys and values in one allocation, FP16 [2 * layers, slots, kv_heads, max_seq_len, head_dim].

    For plans in the plain form, a slot's keys are [kv_heads, head_dim, max_seq_len].
    """

    address: int
    geometry: Geometry
    slots: int
    max_seq_len: int

    @property
    def slot_bytes(self) -> int:
        """One slot's keys, or values, of one layer."""
        return self.geometry.kv_heads * self.max_seq_len * self.geometry.head_dim * _HALF

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return 2 * self.geometry.layers * self.slots * self.slot_bytes

    def place(self, layer: int, part: str, slot: int) -> int:
        """Address of `slot` in the keys (part "key") or values of a layer."""
        index = 2 * layer + (part == "value")
        return self.address + (index * self.slots + slot) * self.slot_bytes

    def copies(self, source: int, target: int) -> list[tuple[int, int]]:
        """Addresses from and to of `slot_bytes` each that make one slot's cache another's."""
        parts = [(layer, part) for layer in range(self.geometry.layers) for part in ("key", "value")]
        return [(self.place(*part, source), self.place(*part, target)) for part in parts]


@dataclass(frozen=True, slots=True)
class Job:
    """What a call runs on: sequence i extends slot `first_slot + i` by `counts[i]` of its tokens."""

    first_slot: int
    tokens: Sequence[Sequence[int]]
    past_lens: Sequence[int]
    counts: Sequence[int]
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A deserialised part, and what runs it in activation memory of ours, so that plans can share it."""

    plan: Plan
    engine: Any
    execution_context: Any
    bound: dict[str, int] = field(default_factory=dict)

    @property
    def scratch_bytes(self) -> int:
        """Activation memory that it wants."""
        return int(getattr(self.engine, "device_memory_size_v2", 0) or self.engine.device_memory_size)

    def use_scratch(self, address: int, size: int) -> None:
        """Give it its activation memory."""
        if hasattr(self.execution_context, "set_device_memory"):
            self.execution_context.set_device_memory(address, size)
        else:
            self.execution_context.device_memory = address

    def bind(self, name: str, address: int) -> None:
        """Where an input or output is. Raises RuntimeError where TensorRT will not have it."""
        if self.bound.get(name) == address:
            return
        if not self.execution_context.set_tensor_address(name, address):
            raise RuntimeError(f"TensorRT refuses the address of {name}")
        self.bound[name] = address

    def queue(self, stream: int) -> None:
        """Queue it on a stream. Raises RuntimeError where TensorRT does not."""
        if not self.execution_context.execute_async_v3(stream):
            raise RuntimeError(f"TensorRT did not run {self.plan.file}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a part within a call. `names`: its inputs and outputs, and what each is this time."""

    part: OpenedPlan
    names: tuple[tuple[str, str], ...]


def turns_of(part: OpenedPlan) -> list[Turn]:
    """As often as it runs."""
    names = [part.engine.get_tensor_name(index) for index in range(part.engine.num_io_tensors)]
    repeats = part.plan.repeats
    return [
        Turn(part, tuple((name, _of_layer(name, turn) if repeats > 1 else name) for name in names))
        for turn in range(repeats)
    ]


def _of_layer(name: str, layer: int) -> str:
    """What layer 0's input or output `name` is called of another layer."""
    return _LAYER.sub(rf"\g<1>.{layer}.", name)


def open_plan(api: Any, engine: Any, plan: Plan) -> OpenedPlan:
    """Make an execution context without memory, in the way that this TensorRT has."""
    if hasattr(engine, "create_execution_context_without_device_memory"):
        made = engine.create_execution_context_without_device_memory()
    else:
        made = engine.create_execution_context(api.ExecutionContextAllocationStrategy.USER_MANAGED)
    return OpenedPlan(plan, engine, made)


class PlanRunner:
    """A deserialised plan, all its turns in order, with inputs and outputs; all of it lives in `device`.

    `weights` maps the names of weight inputs to device addresses. Raises KeyError where a plan has an input
    or output that is none of ours.
    """

    def __init__(
        self, device: Device, turns: Sequence[Turn], cache: Cache, weights: dict[str, int], vocab_size: int
    ) -> None:
        self.plan, self._turns, self._device, self._cache = turns[0].part.plan, turns, device, cache
        self._vocab_size = vocab_size
        self.rows = int(turns[-1].part.engine.get_tensor_shape("logits")[0])
        names = {own for turn in turns for _, own in turn.names}
        self._in_place = any(name.startswith("present.") for name in names)
        keys = cache.geometry.kv_heads * cache.geometry.head_dim
        self._fresh_bytes = aligned(_HALF * self._positions * keys)
        self._make_buffers()
        self._launches: dict[tuple[int, int], Callable[[], None]] = {}
        # A chunk takes longer than changing its addresses, and has more kernels than a step.
        self._executable = device.executable() if self.plan.role == "chunk" else None
        self._places |= {name: weights[name] for name in names if name.startswith("weights.")}
        size = aligned(_HALF * self._positions * cache.geometry.hidden)
        self._residual_memory = device.allocate(4 * size if len(turns) > 1 else 0)
        self._residuals = [int(self._residual_memory) + index * size for index in range(4)]
        if unknown := names - self._all_places(0, 0).keys() - set(_RESIDUALS):
            raise KeyError(min(unknown))

    @property
    def _positions(self) -> int:
        """Tokens in one call."""
        return self.plan.batch * self.plan.chunk

    @property
    def scratch_bytes(self) -> int:
        """Activation memory that the plan wants; whatever runs one after another can share it."""
        return max(turn.part.scratch_bytes for turn in self._turns)

    def use_scratch(self, address: int, size: int) -> None:
        """Give the plan its activation memory."""
        for turn in self._turns:
            turn.part.use_scratch(address, size)

    def fits(self, past_len: int) -> bool:
        """Whether a call may begin at `past_len`: one that writes in place writes all its tokens."""
        return not self._in_place or past_len + self.plan.chunk <= self.plan.max_seq_len

    def run(self, job: Job, logits: int) -> list[tuple[int, float]]:
        """Run the call; the likeliest token of each row and the logarithm of its probability.

        Raises one of `device.faults`.
        """
        self._fill(job)
        self._launch(job.first_slot, logits)
        self._device.wait()
        ids, logprobs = self._outputs[: self.rows], self._outputs[self._logprob_index :].view(np.float32)
        return [(int(ids[row]), float(logprobs[row])) for row in range(len(job.rows))]

    def _launch(self, first_slot: int, logits: int) -> None:
        """The call on these slots, captured after its first run: addresses are part of what is captured."""
        key = (first_slot, logits)
        if key in self._launches:
            self._launches[key]()
            return
        self._queue(first_slot, logits)
        self._device.wait()
        work = functools.partial(self._queue, first_slot, logits)
        self._launches[key] = self._device.captured(work, self._executable)

    def _queue(self, first_slot: int, logits: int) -> None:
        """Queue the graph, and what it leaves to us: choosing the likeliest tokens, and appending."""
        self._device.upload(self._inputs_address, self._inputs)
        places = self._all_places(first_slot, logits)
        for index, turn in enumerate(self._turns):
            self._bind(index, places)
            turn.part.queue(self._device.stream.handle)
        self._device.best((self.rows, self._vocab_size), logits, *self._best_places)
        if not self._in_place:
            self._append(first_slot)
        self._device.download(self._outputs, self._outputs_address)

    def _all_places(self, first_slot: int, logits: int) -> dict[str, int]:
        """Where everything is but the residual stream between parts."""
        places = self._places | {"logits": logits}
        for layer in range(self._cache.geometry.layers):
            for kind in ("key", "value"):
                name = f"{layer}.{kind}"
                places[f"cache.{name}"] = self._cache.place(layer, kind, first_slot)
                places[f"present.{name}"] = places[f"cache.{name}"]
        return places

    def _bind(self, index: int, places: dict[str, int]) -> None:
        """Everything of a turn. What it hands over is what the next one takes over: two places, in turns."""
        taken, handed = 2 * ((index + 1) % 2), 2 * (index % 2)
        for place, name in zip((taken, taken + 1, handed, handed + 1), _RESIDUALS, strict=True):
            places[name] = self._residuals[place]
        turn = self._turns[index]
        for name, own in turn.names:
            turn.part.bind(name, places[own])

    def _append(self, first_slot: int) -> None:
        geometry, plan = self._cache.geometry, self.plan
        vectors = geometry.head_dim * _HALF // _VECTOR_BYTES
        self._device.append(
            (plan.chunk, plan.batch * geometry.kv_heads, 2 * geometry.layers),
            vectors,
            self._fresh_address,
            self._cache.address,
            self._places["past_lens"],
            self._counts_address,
            geometry.kv_heads,
            plan.chunk,
            vectors,
            self._cache.slots,
            first_slot,
            self._cache.max_seq_len,
            self._fresh_bytes // _VECTOR_BYTES,
        )

    def _make_buffers(self) -> None:
        """Inputs in one pinned array that goes up in one copy; outputs likewise; fresh keys and values."""
        plan, device = self.plan, self._device
        sizes = {"input_ids": plan.batch * plan.chunk, "past_lens": plan.batch, "counts": plan.batch}
        sizes["rows"] = self.rows
        self._at: dict[str, int] = {}
        total = 0
        for name, count in sizes.items():
            self._at[name] = total
            total += -(-count // _PER_ALIGNMENT) * _PER_ALIGNMENT
        self._inputs = device.pinned(total, np.int32)
        self._inputs_memory = device.allocate(total * _INT)
        self._inputs_address = int(self._inputs_memory)
        self._logprob_index = -(-self.rows // _PER_ALIGNMENT) * _PER_ALIGNMENT
        self._outputs = device.pinned(2 * self._logprob_index, np.int32)
        self._outputs_memory = device.allocate(2 * self._logprob_index * _INT)
        self._outputs_address = int(self._outputs_memory)
        self._places = {name: self._inputs_address + _INT * at for name, at in self._at.items()}
        self._counts_address = self._places.pop("counts")
        if plan.role == "step":
            del self._places["rows"]
        self._seen_memory = device.allocate(self.rows * _SEEN_BYTES)
        logprobs = self._outputs_address + _INT * self._logprob_index
        self._best_places = (int(self._seen_memory), self._outputs_address, logprobs)
        if self._in_place:
            return
        parts = 2 * self._cache.geometry.layers
        self._fresh_memory = device.allocate(parts * self._fresh_bytes)
        self._fresh_address = int(self._fresh_memory)
        for part in range(parts):
            name = f"new.{part // 2}.{'value' if part % 2 else 'key'}"
            self._places[name] = self._fresh_address + part * self._fresh_bytes

    def _fill(self, job: Job) -> None:
        plan, at, inputs = self.plan, self._at, self._inputs
        inputs[:] = 0
        for index, tokens in enumerate(job.tokens):
            start = at["input_ids"] + index * plan.chunk
            inputs[start : start + len(tokens)] = tokens
        for name, values in (("past_lens", job.past_lens), ("counts", job.counts)):
            inputs[at[name] : at[name] + len(values)] = values
        if plan.role == "chunk":
            inputs[at["rows"] : at["rows"] + len(job.rows)] = job.rows
