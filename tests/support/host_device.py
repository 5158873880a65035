"""ONNX Runtime on the CPU in TensorRT's place, host memory in the device's, below engine/tensorrt.py.

The graphs are the real ones, so what the engine does with slots, lengths, rows and addresses is tested where
there is no GPU. tests/gpu runs the same contract on a real one.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import numpy as np
import onnxruntime

from lineside.engine.device import Gpu
from lineside.engine.site import Site
from lineside.engine.tensorrt_module import TensorRt

GPU = Gpu("host", "87", 1, 1 << 34, True)
VERSION = "1"
_TYPES = {"tensor(int32)": np.int32, "tensor(float16)": np.float16, "tensor(float)": np.float32}


class CudaFaultError(Exception):
    """What a device's driver raises."""


class OutOfMemoryError(Exception):
    """No room on the device."""


class Memory:
    """An allocation; its int is its address."""

    def __init__(self, size):
        self._bytes = np.zeros(size + 256, np.uint8)
        self._address = -(-self._bytes.ctypes.data // 256) * 256

    def __int__(self):
        return self._address


class Stream:
    handle = 0


class HostDevice:
    """engine.cuda.Device on host memory; `fail_next` makes that many waits fail, `broken` for good."""

    faults = (CudaFaultError, RuntimeError)
    out_of_memory = OutOfMemoryError
    stream = Stream()
    capacity = 1 << 30
    fail_next = 0
    broken = False
    opened = 0

    def __init__(self):
        self.used = 0
        type(self).opened += 1

    @contextlib.contextmanager
    def active(self):
        yield

    def allocate(self, size):
        self.used += size
        if self.used > self.capacity:
            raise OutOfMemoryError(f"{size} bytes")
        return Memory(size)

    def free_bytes(self):
        return self.capacity - self.used

    @staticmethod
    def pinned(count, kind):
        return np.zeros(count, kind)

    def upload(self, target, values):
        ctypes.memmove(target, values.ctypes.data, values.nbytes)

    upload_now = upload

    def download(self, values, source):
        ctypes.memmove(values.ctypes.data, source, values.nbytes)

    download_now = download

    def copy(self, target, source, size):
        ctypes.memmove(target, source, size)

    def wait(self):
        if type(self).fail_next:
            type(self).fail_next -= 1
            raise CudaFaultError("an illegal memory access was encountered")

    def append(self, grid, vectors, *arguments):
        fresh, cache, past_lens, counts, *sizes = arguments
        kv_heads, tokens, _, slots, first_slot, max_seq_len, stride = sizes
        parts, sequences = grid[2], grid[1] // kv_heads
        new = view(fresh, (parts, stride * 8), np.float16)[:, : grid[1] * tokens * vectors * 8]
        new = new.reshape(parts, sequences, kv_heads, tokens, vectors * 8)
        all_keys = view(cache, (parts, slots, kv_heads, vectors * 8, max_seq_len), np.float16)
        all_values = view(cache, (parts, slots, kv_heads, max_seq_len, vectors * 8), np.float16)
        past, count = (view(place, (sequences,), np.int32) for place in (past_lens, counts))
        for sequence in range(sequences):
            taken = min(count[sequence], max_seq_len - past[sequence])
            span, slot = slice(past[sequence], past[sequence] + taken), first_slot + sequence
            all_keys[::2, slot, :, :, span] = new[::2, sequence, :, :taken].swapaxes(2, 3)
            all_values[1::2, slot, :, span] = new[1::2, sequence, :, :taken]

    def gather(self, logits, ids, found, count):
        chosen = view(ids, (count,), np.int32)
        view(found, (count,), np.float32)[:] = view(logits, (chosen.max() + 1,), np.float32)[chosen]

    def best(self, size, logits, between, ids, logprobs):
        values, rows = view(logits, size, np.float32).astype(np.float64), size[0]
        view(ids, (rows,), np.int32)[:] = values.argmax(1)
        shares = np.exp(values - values.max(1, keepdims=True)).sum(1)
        view(logprobs, (rows,), np.float32)[:] = -np.log(shares)

    def executable(self):
        return None

    def captured(self, work, shared=None):
        return work

    def works(self):
        return not type(self).broken


def view(address, shape, kind):
    """Memory at an address as an array."""
    count = int(np.prod(shape))
    raw = (ctypes.c_uint8 * (count * np.dtype(kind).itemsize)).from_address(address)
    return np.frombuffer(raw, kind).reshape(shape)


class HostContext:
    """An execution context that runs the graph on bound addresses."""

    def __init__(self, session):
        self._session, self._addresses = session, {}

    def set_tensor_address(self, name, address):
        assert address % 256 == 0, f"TensorRT wants {name} aligned"
        self._addresses[name] = address
        return True

    def execute_async_v3(self, _stream):
        inputs = {
            entry.name: view(self._addresses[entry.name], entry.shape, _TYPES[entry.type])
            for entry in self._session.get_inputs()
        }
        outputs = self._session.run(None, inputs)
        for entry, values in zip(self._session.get_outputs(), outputs, strict=True):
            view(self._addresses[entry.name], entry.shape, values.dtype)[:] = values
        return True


class HostEngine:
    """A "plan" is the path of its ONNX graph."""

    device_memory_size = 0

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._session = session
        self._entries = [*session.get_inputs(), *session.get_outputs()]
        self.num_io_tensors = len(self._entries)

    def get_tensor_name(self, index):
        return self._entries[index].name

    def get_tensor_shape(self, name):
        return next(entry.shape for entry in self._entries if entry.name == name)

    def create_execution_context_without_device_memory(self):
        return HostContext(self._session)


class HostTensorRt:
    """The module."""

    class Logger:
        WARNING = 0

        def __init__(self, _level):
            pass

    class Runtime:
        def __init__(self, _logger):
            pass

        def deserialize_cuda_engine(self, plan):
            path = Path(plan.decode())
            return HostEngine(path) if path.exists() else None


def host_site(device=HostDevice):
    """What TensorRtEngine stands on here."""
    return Site(GPU, TensorRt("tensorrt", VERSION, HostTensorRt), device)
