"""Large constants of a model, in a file beside it, written as they come. Knows no graph."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

_ALIGNMENT = 64
_TYPES = {
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(ml_dtypes.int4): TensorProto.INT4,
    np.dtype(ml_dtypes.float8_e4m3fn): TensorProto.FLOAT8E4M3FN,
}


class ExternalData:
    """`{model}.data`, appended to. The model must be saved in the same directory."""

    def __init__(self, model: Path) -> None:
        self._path = model.with_name(f"{model.name}.data")
        self._path.unlink(missing_ok=True)

    def append(self, name: str, values: NDArray[np.generic]) -> TensorProto:
        """A tensor that refers to the values just written."""
        proto = TensorProto(
            name=name, data_type=_TYPES[values.dtype], data_location=TensorProto.EXTERNAL, dims=values.shape
        )
        raw = _packed(values)
        with self._path.open("ab") as stream:
            stream.write(bytes(-stream.tell() % _ALIGNMENT))
            place = {"location": self._path.name, "offset": stream.tell(), "length": raw.nbytes}
            stream.write(raw.data)
        for key, value in place.items():
            proto.external_data.add(key=key, value=str(value))
        return proto


def _packed(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The bytes that ONNX wants: two 4-bit values in one, the first one low."""
    if values.dtype != ml_dtypes.int4:
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    nibbles = values.reshape(-1).astype(np.int8).view(np.uint8) & 15
    nibbles = np.pad(nibbles, (0, nibbles.size % 2))
    return np.asarray(nibbles[0::2] | (nibbles[1::2] << 4), np.uint8)
