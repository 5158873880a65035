"""Device memory, a stream, captured graphs and our kernels, through pycuda. Knows no TensorRT.

pycuda has no CUDA graphs: cuda-bindings captures what a pycuda stream is given, where it is installed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycuda import driver

try:
    from cuda.bindings import driver as bindings
except ImportError:  # the engine then launches each kernel anew
    bindings = None

log = logging.getLogger(__name__)

_GATHER_THREADS, _LOOK_THREADS, _PIECES = 256, 256, 32
_KERNELS = Path(__file__).with_name("kernels.ptx")


class Device:
    """The first GPU's primary context, made current for the length of each `active()` block.

    Every other method is called inside such a block, by one thread at a time.
    """

    # What a call that fails raises; TensorRT's own refusals are RuntimeErrors of ours.
    faults = (driver.Error, RuntimeError)
    out_of_memory = driver.MemoryError

    def __init__(self) -> None:
        driver.init()
        self._gpu = driver.Device(0)
        self._context = self._gpu.retain_primary_context()
        self._told = False
        with self.active():
            self.stream = driver.Stream()
            module = driver.module_from_buffer(_KERNELS.read_bytes())
            self._append = module.get_function("append").prepare("PPPPiiiiiii")
            self._gather = module.get_function("gather").prepare("PPPi")
            self._look = module.get_function("look").prepare("PPi")
            self._best = module.get_function("best").prepare("PPPi")

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current in the calling thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def allocate(self, size: int) -> driver.DeviceAllocation:
        """`size` bytes of zeros. Raises `out_of_memory`."""
        memory = driver.mem_alloc(max(size, 1))
        driver.memset_d8(memory, 0, max(size, 1))
        return memory

    def free_bytes(self) -> int:
        """Device memory that is not in use."""
        free: int = driver.mem_get_info()[0]
        return free

    @staticmethod
    def pinned(count: int, kind: type[np.generic]) -> NDArray[Any]:
        """Zeros in memory of the host that the device copies from and to by itself."""
        values: NDArray[Any] = driver.pagelocked_zeros(count, kind)
        return values

    def upload(self, target: int, values: NDArray[Any]) -> None:
        """Queue a copy to the device; `values` are pinned, and unchanged until `wait`."""
        driver.memcpy_htod_async(target, values, self.stream)

    def upload_now(self, target: int, values: NDArray[Any]) -> None:
        """Copy ordinary memory to the device."""
        driver.memcpy_htod(target, values)

    def download(self, values: NDArray[Any], source: int) -> None:
        """Queue a copy from the device into pinned `values`."""
        driver.memcpy_dtoh_async(values, source, self.stream)

    def download_now(self, values: NDArray[Any], source: int) -> None:
        """Copy from the device, after all that was queued."""
        self.wait()
        driver.memcpy_dtoh(values, source)

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy within the device."""
        driver.memcpy_dtod_async(target, source, size, self.stream)

    def wait(self) -> None:
        """Until everything queued has run. Raises one of `faults` where some of it failed."""
        self.stream.synchronize()

    def append(self, grid: tuple[int, int, int], vectors: int, *arguments: int) -> None:
        """Queue kernels.cu's `append`."""
        self._append.prepared_async_call(grid, (vectors, 1, 1), self.stream, *arguments)

    def gather(self, logits: int, ids: int, found: int, count: int) -> None:
        """Queue kernels.cu's `gather`."""
        blocks = -(-count // _GATHER_THREADS)
        self._gather.prepared_async_call(
            (blocks, 1), (_GATHER_THREADS, 1, 1), self.stream, logits, ids, found, count
        )

    def best(self, size: tuple[int, int], logits: int, between: int, ids: int, logprobs: int) -> None:
        """Queue kernels.cu's `look` and `best` for logits of `size`; `between`: 384 bytes for each row."""
        rows, vocab_size = size
        self._look.prepared_async_call(
            (_PIECES, rows), (_LOOK_THREADS, 1, 1), self.stream, logits, between, vocab_size
        )
        self._best.prepared_async_call(
            (rows, 1), (_PIECES, 1, 1), self.stream, between, ids, logprobs, vocab_size
        )

    @staticmethod
    def executable() -> Executable:
        """For `captured`."""
        return Executable()

    def captured(self, work: Callable[[], None], shared: Executable | None = None) -> Callable[[], None]:
        """`work`, which only queues on the stream, as one launch. Run it once before.

        `shared`: of all that are captured with it, which differ in addresses alone. Without cuda-bindings, or
        where the driver refuses, `work` itself.
        """
        if bindings is None:
            self._tell_once("cuda-bindings is not installed")
            return work
        stream = bindings.CUstream(self.stream.handle)
        mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        try:
            _checked(bindings.cuStreamBeginCapture(stream, mode))
            try:
                work()
            finally:
                graph = _checked(bindings.cuStreamEndCapture(stream))
            executable = shared or Executable()
            executable.hold(graph)
            if not shared:
                _checked(bindings.cuGraphDestroy(graph))
        except self.faults as error:
            self._tell_once(str(error))
            return work

        def launch() -> None:
            executable.hold(graph)
            _checked(bindings.cuGraphLaunch(executable.handle, stream))

        return launch

    def _tell_once(self, why: str) -> None:
        if not self._told:
            log.warning("calls run without CUDA graphs, and slower: %s", why)
        self._told = True

    def works(self) -> bool:
        """Whether the context still takes orders. After some errors it never does again in this process."""
        try:
            with self.active():
                driver.Context.synchronize()
        except driver.Error:
            return False
        return True


class Executable:
    """What the device has of a captured graph, some kilobytes for each kernel, and of which one that is."""

    def __init__(self) -> None:
        self.handle: Any = None
        self._held: Any = None

    def hold(self, graph: Any) -> None:
        """Make it that of `graph`, which differs from the last one in addresses alone: they are changed.

        Raises RuntimeError where the driver refuses.
        """
        if graph is self._held:
            return
        self._held = None
        if self.handle is None:
            self.handle = _checked(bindings.cuGraphInstantiate(graph, 0))
        else:
            _checked(bindings.cuGraphExecUpdate(self.handle, graph))
        self._held = graph


def _checked(result: tuple[Any, ...]) -> Any:
    if int(result[0]):
        raise RuntimeError(f"CUDA error {result[0]}")
    return result[1] if len(result) > 1 else None
