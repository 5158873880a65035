"""One TensorRT plan: its buffers bound, run, its cache appended to. Knows no scheduling and no text.

Graphs come in two forms (lineside_models.graph): `plain` reads the cache and gives the new keys and values as
outputs, which we append; `native` writes the cache in place. A plan may be several parts, each with some of
the layers, that hand the residual stream on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lineside.engine.bundle import Geometry, Plan

if TYPE_CHECKING:
    from lineside.engine.cuda import Device

_INT = 4
_HALF = 2
_VECTOR_BYTES = 16
_ALIGNMENT = 256
_PER_ALIGNMENT = _ALIGNMENT // _INT


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
        if not self.execution_context.set_tensor_address(name, address):
            raise RuntimeError(f"TensorRT refuses the address of {name}")

    def queue(self, stream: int) -> None:
        """Queue it on a stream. Raises RuntimeError where TensorRT does not."""
        if not self.execution_context.execute_async_v3(stream):
            raise RuntimeError(f"TensorRT did not run {self.plan.file}")


def tensor_names(engine: Any) -> list[str]:
    """Inputs and outputs of a plan."""
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def open_plan(api: Any, engine: Any, plan: Plan) -> OpenedPlan:
    """Make an execution context without memory, in the way that this TensorRT has."""
    if hasattr(engine, "create_execution_context_without_device_memory"):
        made = engine.create_execution_context_without_device_memory()
    else:
        made = engine.create_execution_context(api.ExecutionContextAllocationStrategy.USER_MANAGED)
    return OpenedPlan(plan, engine, made)


class PlanRunner:
    """A deserialised plan, all its parts in order, with inputs and outputs; all of it lives in `device`.

    `weights` maps the names of weight inputs to device addresses, `logits` is where the logits go.
    """

    def __init__(
        self, device: Device, parts: Sequence[OpenedPlan], cache: Cache, weights: dict[str, int]
    ) -> None:
        self.plan, self._parts, self._device, self._cache = parts[0].plan, parts, device, cache
        self._users: dict[str, list[OpenedPlan]] = {}
        for part in parts:
            for name in tensor_names(part.engine):
                self._users.setdefault(name, []).append(part)
        self.rows = int(parts[-1].engine.get_tensor_shape("logits")[0])
        self._in_place = any(name.startswith("present.") for name in self._users)
        keys = cache.geometry.kv_heads * cache.geometry.head_dim
        self._fresh_bytes = aligned(_HALF * self._positions * keys)
        self._make_buffers()
        self._launches: dict[int, Callable[[], None]] = {}
        for name in self._users:
            if name.startswith("weights."):
                self._bind(name, weights[name])
        for name, place in self._places.items():
            self._bind(name, place)
        self._join_parts()

    @property
    def _positions(self) -> int:
        """Tokens in one call."""
        return self.plan.batch * self.plan.chunk

    @property
    def scratch_bytes(self) -> int:
        """Activation memory that the plan wants; whatever runs one after another can share it."""
        return max(part.scratch_bytes for part in self._parts)

    def use_scratch(self, address: int, size: int) -> None:
        """Give the plan its activation memory."""
        for part in self._parts:
            part.use_scratch(address, size)

    def fits(self, past_len: int) -> bool:
        """Whether a call may begin at `past_len`: one that writes in place writes all its tokens."""
        return not self._in_place or past_len + self.plan.chunk <= self.plan.max_seq_len

    def run(self, job: Job, logits: int) -> list[tuple[int, float]]:
        """Run the call; the likeliest token of each row and the logarithm of its probability.

        Raises one of `device.faults`.
        """
        self._fill(job)
        self._device.upload(self._inputs_address, self._inputs)
        if self.plan.role == "step":
            self._step(job.first_slot, logits)
        else:
            self._bind("logits", logits)
            self._queue(job.first_slot)
        self._device.download(self._outputs, self._outputs_address)
        self._device.wait()
        ids, logprobs = self._outputs[: self.rows], self._outputs[self._logprob_index :].view(np.float32)
        return [(int(ids[row]), float(logprobs[row])) for row in range(len(job.rows))]

    def _step(self, first_slot: int, logits: int) -> None:
        """The step on these slots, captured at its second run: addresses are part of what is captured."""
        if first_slot in self._launches:
            self._launches[first_slot]()
            return
        self._bind("logits", logits)
        self._queue(first_slot)
        self._device.wait()
        self._launches[first_slot] = self._device.captured(lambda: self._queue(first_slot))

    def _queue(self, first_slot: int) -> None:
        """Queue the graph, and the appending that it leaves to us."""
        for layer in range(self._cache.geometry.layers):
            for kind in ("key", "value"):
                place = self._cache.place(layer, kind, first_slot)
                self._bind(f"cache.{layer}.{kind}", place)
                if self._in_place:
                    self._bind(f"present.{layer}.{kind}", place)
        for part in self._parts:
            part.queue(self._device.stream.handle)
        if not self._in_place:
            self._append(first_slot)

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

    def _join_parts(self) -> None:
        """What a part hands over is what the next one takes over: two places, in turns."""
        size = aligned(_HALF * self._positions * self._cache.geometry.hidden)
        self._residual_memory = self._device.allocate(4 * size if len(self._parts) > 1 else 0)
        for (index, part), (at, half) in itertools.product(
            enumerate(self._parts), enumerate(("high", "low"))
        ):
            for name, turn in ((f"taken.{half}", index - 1), (f"handed.{half}", index)):
                if part in self._users.get(name, ()):
                    part.bind(name, int(self._residual_memory) + (2 * (turn % 2) + at) * size)

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
        self._places |= {
            "next_ids": self._outputs_address,
            "top_logprob": self._outputs_address + _INT * self._logprob_index,
        }
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

    def _bind(self, name: str, address: int) -> None:
        """In every part that has it."""
        for part in self._users.get(name, ()):
            part.bind(name, address)
