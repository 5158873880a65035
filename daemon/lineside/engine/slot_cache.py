"""Keys and values of every slot, which ONNX Runtime extends in place."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime as ort

from lineside.engine.base import PrefixCopy
from lineside.engine.pages import Pages

_PAST = "past_key_values."


class SlotCache:
    """Keys and values of every slot, where the graph computes, in the graph's own type."""

    def __init__(self, session: ort.InferenceSession, provider: str, slots: int) -> None:
        self._provider, self._slots = provider, slots
        self._buffers: dict[str, tuple[object, int]] = {}
        self._host: list[Pages] = []  # those of them that are in host memory
        inputs = [entry for entry in session.get_inputs() if entry.name.startswith(_PAST)]
        self._type = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        self._shape = list(inputs[0].shape[1:])
        self._slot_bytes = math.prod(self._shape) * np.dtype(self._type).itemsize
        for entry in inputs:
            self._buffers[entry.name] = self._zeros()
        self.nbytes = len(inputs) * slots * self._slot_bytes

    def bind(self, binding: ort.IOBinding, slot: int, sequences: int) -> None:
        """Past and present to the same memory."""
        shape = [sequences, *self._shape]
        for name, (_, address) in self._buffers.items():
            place = (self._provider, 0, self._type, shape, address + slot * self._slot_bytes)
            binding.bind_input(name, *place)
            binding.bind_output(name.replace(_PAST, "present."), *place)

    def copy(self, copy: PrefixCopy) -> None:
        """Keys and values of the first tokens of a slot to another, in host memory."""
        assert self._host, "kept slots are on the CPU alone"
        for pages in self._host:
            pages.array[copy.target, :, : copy.length] = pages.array[copy.source, :, : copy.length]

    def clear(self) -> None:
        """Nothing is in it any more; on a device it stays as it is."""
        for pages in self._host:
            pages.clear()

    def _zeros(self) -> tuple[object, int]:
        """A buffer, kept alive by the first, and its address."""
        shape = (self._slots, *self._shape)
        if self._provider == "cpu":
            pages = Pages(shape, self._type)
            self._host.append(pages)
            return pages, pages.array.ctypes.data
        array = np.zeros(shape, self._type)
        value = ort.OrtValue.ortvalue_from_numpy(array, self._provider, 0)
        return value, value.data_ptr()
