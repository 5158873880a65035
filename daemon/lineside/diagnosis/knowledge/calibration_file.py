"""A plant's own calibration as a file: read whole or not at all, written whole or not at all.

Knows nothing of what the weights mean. Who cannot use the file goes on with the calibration that is shipped.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from lineside.diagnosis.knowledge.fusion import Calibration, parse_calibration
from lineside.errors import LinesideError
from lineside.plain_files import read_plain
from lineside.toml_file import TomlError
from lineside.whole_file import write_whole

MAX_BYTES = 65_536
_HINT = "write it again: lineside eval --bundle BUNDLE --calibrate FILE; or move it away"


class CalibrationError(LinesideError):
    """A calibration that is not used."""


def read_calibration(path: Path, embedder: str = "") -> Calibration:
    """Raises CalibrationError. `embedder`: the one that it has to be fitted to; empty: any."""
    try:
        content = read_plain(path, MAX_BYTES)
    except OSError as error:
        hint = (
            "correct `calibration` in [diagnosis], or leave it out; lineside eval --calibrate FILE writes one"
        )
        raise CalibrationError("read calibration", f"{path}: {error.strerror}", hint) from error
    try:
        found = parse_calibration(content)
    except (TomlError, msgspec.ValidationError) as error:
        raise CalibrationError("read calibration", f"{path}: {error}", _HINT) from error
    fitted = str(found.origin.get("embedder", ""))
    if embedder and fitted != embedder:
        message = (
            f"{path} was fitted to the embedder {fitted or '(none named)'}, and the bundle has {embedder}"
        )
        raise CalibrationError("read calibration", message, _HINT)
    return found


def write_calibration(path: Path, text: str) -> None:
    """Put `text` in the file's place. Raises CalibrationError."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        hint = "name a file in a directory that exists and may be written"
        raise CalibrationError("write calibration", f"{path}: {error.strerror}", hint) from error
