"""The GGUF container: metadata and where each tensor lies. Knows nothing of architectures.

The format is read here rather than by the library's reader, which makes an object of every token and takes
seconds and hundreds of megabytes for a vocabulary of 150,000. Dequantisation is the library's.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from lineside_models.errors import CheckpointError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
SUPPORTED_TYPES = {int(gguf.GGMLQuantizationType[name]): name for name in _TYPES}
TRUNCATED = "fetch the file again: it is not whole"


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor's place in the file. The shape is row-major, as NumPy has it."""

    shape: tuple[int, ...]
    type_id: int
    start: int
    row_bytes: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """An open, memory-mapped GGUF file."""

    path: Path
    metadata: dict[str, object]
    tensors: dict[str, GgufTensor]
    data: NDArray[np.uint8]

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of a tensor (values of a vector), dequantised."""
        tensor = self.tensors[name]
        if len(tensor.shape) == 1:
            return self._dequantise(tensor, 0, 1).reshape(-1)[start:stop]
        return self._dequantise(tensor, start, stop)

    def _dequantise(self, tensor: GgufTensor, start: int, stop: int) -> NDArray[np.float32]:
        begin, end = (tensor.start + row * tensor.row_bytes for row in (start, stop))
        raw = self.data[begin:end].reshape(stop - start, tensor.row_bytes)
        values = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(tensor.type_id))
        return np.asarray(values, np.float32)


class _Cursor:
    """Reads little-endian values one after the other; struct.error at the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def scalar(self, code: str) -> int | float | bool:
        value: int | float | bool = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def count(self, code: str = "Q") -> int:
        value = int(self.scalar(code))
        if value > len(self.data):  # so that a damaged count cannot ask for all memory
            raise struct.error("count beyond the end of the file")
        return value

    def string(self) -> str:
        size = self.count()
        raw = self.data[self.at : self.at + size]
        if len(raw) != size:
            raise struct.error("string beyond the end of the file")
        self.at += size
        return raw.decode("utf-8", "replace")

    def value(self, kind: int) -> object:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            item, size = int(self.scalar("I")), self.count()
            read: Callable[[], object] = self.string if item == _STRING else lambda: self.value(item)
            return [read() for _ in range(size)]
        if kind not in _SCALARS:
            raise struct.error(f"unknown value type {kind}")
        return self.scalar(_SCALARS[kind])


def read_gguf(path: Path) -> GgufFile:
    """Parse a GGUF file's header and map its data. Raises CheckpointError."""
    with path.open("rb") as stream:
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise CheckpointError("open checkpoint", f"{path} is empty", TRUNCATED) from None
    if mapped[:4] != b"GGUF":
        hint = "give a .gguf file, or a directory with config.json and safetensors"
        raise CheckpointError("open checkpoint", f"{path} is not a GGUF file", hint)
    cursor = _Cursor(mapped)
    try:
        metadata, infos = _read_header(cursor, path)
    except (struct.error, MemoryError) as error:
        message = f"{path}: the header ends before it is complete ({error})"
        raise CheckpointError("open checkpoint", message, TRUNCATED) from error
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0:
        message = f"{path}: general.alignment is {alignment}"
        raise CheckpointError("open checkpoint", message, TRUNCATED)
    base = -(-cursor.at // alignment) * alignment
    tensors = {name: _locate(path, name, info, base, len(mapped)) for name, info in infos.items()}
    return GgufFile(path, metadata, tensors, np.frombuffer(mapped, np.uint8))


def _read_header(
    cursor: _Cursor, path: Path
) -> tuple[dict[str, object], dict[str, tuple[list[int], int, int]]]:
    cursor.at = 4
    version = cursor.scalar("I")
    if version not in (2, 3):
        message = f"{path}: GGUF version {version} (or big-endian), supported are 2 and 3"
        raise CheckpointError("open checkpoint", message, "convert the checkpoint with a current llama.cpp")
    tensor_count, pair_count = cursor.count(), cursor.count()
    metadata: dict[str, object] = {}
    for _ in range(pair_count):
        key = cursor.string()
        metadata[key] = cursor.value(int(cursor.scalar("I")))
    infos: dict[str, tuple[list[int], int, int]] = {}
    for _ in range(tensor_count):
        name = cursor.string()
        shape = [cursor.count() for _ in range(cursor.count("I"))][::-1]
        infos[name] = (shape, int(cursor.scalar("I")), int(cursor.scalar("Q")))
    return metadata, infos


def _locate(path: Path, name: str, info: tuple[list[int], int, int], base: int, file_size: int) -> GgufTensor:
    shape, type_id, offset = info
    if type_id not in SUPPORTED_TYPES:
        known = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
        message = f"{path}: tensor {name} has type {known.get(type_id, type_id)}, which is not supported"
        hint = f"quantise the checkpoint to one of {', '.join(_TYPES)}"
        raise CheckpointError("open checkpoint", message, hint)
    block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(type_id)]
    if not shape or shape[-1] % block:
        message = f"{path}: tensor {name} has shape {tuple(shape)}, not whole blocks of {block}"
        raise CheckpointError("open checkpoint", message, TRUNCATED)
    row_bytes = shape[-1] // block * block_bytes
    rows = int(np.prod(shape[:-1], dtype=object)) if len(shape) > 1 else 1
    if base + offset + rows * row_bytes > file_size:
        message = f"{path}: tensor {name} ends at byte {base + offset + rows * row_bytes} of {file_size}"
        raise CheckpointError("open checkpoint", message, TRUNCATED)
    return GgufTensor(tuple(shape), type_id, base + offset, row_bytes)
