"""What a calibration found, as a file: scales of inputs and of channels. Knows no graph and no model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from lineside_models.errors import BuildError

Quantisation = Literal["int8", "int4", "fp8"]
HEADS = frozenset({"embed", "head"})  # the vocabulary's matrix, by its names in the store
_SCHEMA_VERSION = 1


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One matrix that is quantised, and its input.

    `channels` multiplies the matrix's columns and divides its input's channels (empty: ones): what produces
    the input is divided instead, so that it costs nothing. `largest` is the largest magnitude of the input
    after that, `rms` each channel's size after that.
    """

    largest: float
    channels: tuple[float, ...] = ()
    rms: tuple[float, ...] = ()


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to quantise one model in one precision. A matrix that has no point stays in FP16."""

    precision: Quantisation
    weights_sha256: str  # of the store that it was made for
    texts: tuple[str, ...]
    tokens: int
    points: dict[str, Point]
    schema_version: int = _SCHEMA_VERSION

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.write_bytes(msgspec.json.encode(self))


def load_calibration(path: Path) -> Calibration:
    """Read what `save` wrote. Raises BuildError naming the field."""
    hint = "calibrate again: remove the file and compile"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError) as error:
        raise BuildError("load calibration", f"{path}: {error}", hint) from error
    if found.schema_version != _SCHEMA_VERSION:
        message = f"{path}: schema_version is {found.schema_version}, this version reads {_SCHEMA_VERSION}"
        raise BuildError("load calibration", message, hint)
    for matrix, point in found.points.items():
        if point.largest < 0 or min(point.channels, default=1) <= 0 or min(point.rms, default=0) < 0:
            message = f"{path}: {matrix} has a scale that is not positive"
            raise BuildError("load calibration", message, hint)
    return found
