"""The safetensors format, read in place and written as a stream. Knows nothing of models.

A header of JSON, then each tensor's bytes with no gaps. The writer lays the header out first, so that no
more than one tensor need be in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plain_files import open_plain
from lineside_models.errors import CheckpointError

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 100_000_000  # the format's own bound
_AGAIN = "fetch or build the file again: it is not whole"
_OTHER_TYPE = "use the model's release in BF16, F16 or F32: quantised releases are not read"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies: `offset` counts from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """A parsed header and the mapped bytes."""

    path: Path
    entries: dict[str, TensorEntry]
    data: NDArray[np.uint8]

    def array(self, name: str) -> NDArray[Any]:
        """A view of a tensor as it is stored (BF16 as its 16 bits)."""
        entry = self.entries[name]
        raw = self.data[entry.offset : entry.offset + entry.size]
        values: NDArray[Any] = raw.view(DTYPES[entry.dtype]).reshape(entry.shape)
        return values


def read_safetensors(path: Path) -> SafetensorsFile:
    """Parse the header and check that every tensor lies inside the file. Raises CheckpointError."""
    try:
        entries = _read_header(path)
    except OSError as error:
        raise CheckpointError("read safetensors", f"{path}: {error.strerror}", _AGAIN) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("read safetensors", f"{path}: {error}", _AGAIN) from error
    return SafetensorsFile(path, entries, np.memmap(path, np.uint8, "r"))


def _read_header(path: Path) -> dict[str, TensorEntry]:
    with open_plain(path) as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes, at most {_MAX_HEADER_BYTES} are read")
        if size > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    for name, fields in header.items():
        if fields["dtype"] not in DTYPES:
            message = f"{path}: tensor {name} has type {fields['dtype']}, supported are {', '.join(DTYPES)}"
            raise CheckpointError("read safetensors", message, _OTHER_TYPE)
    entries = {name: _entry(name, fields, 8 + size) for name, fields in header.items()}
    for name, entry in entries.items():
        if entry.offset + entry.size > path.stat().st_size:
            raise ValueError(
                f"tensor {name} ends at byte {entry.offset + entry.size} of {path.stat().st_size}"
            )
    return entries


def _entry(name: str, fields: Mapping[str, object], base: int) -> TensorEntry:
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError(f"tensor {name} has a malformed header")
    size = int(np.prod(shape, dtype=object)) * DTYPES[str(dtype)].itemsize
    if offsets[1] - offsets[0] != size or offsets[0] < 0:
        raise ValueError(f"tensor {name} of shape {shape} does not fill its bytes")
    return TensorEntry(str(dtype), tuple(shape), base + offsets[0], size)


class SafetensorsWriter:
    """Writes tensors in the order that was announced, hashing as it goes. A context manager."""

    def __init__(self, path: Path, layout: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        header: dict[str, object] = {}
        end = 0
        for name, (dtype, shape) in layout.items():
            start, end = end, end + int(np.prod(shape, dtype=object)) * DTYPES[dtype].itemsize
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        self._path, self._left = path, end
        self._stream = path.open("wb")
        self._digest = hashlib.sha256()
        self.size = 0
        self._put(len(text).to_bytes(8, "little") + text)

    def write(self, values: NDArray[np.generic]) -> None:
        """Append values (part of a tensor, or all of it)."""
        raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        self._left -= len(raw)
        self._put(raw)

    def _put(self, raw: bytes | memoryview) -> None:
        self._stream.write(raw)
        self._digest.update(raw)
        self.size += len(raw)

    def sha256(self) -> str:
        """Hex digest of what was written."""
        return self._digest.hexdigest()

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        assert kind or self._left == 0, f"{self._path}: {self._left} announced bytes were not written"
