"""Asks over a Unix socket: the privileged helper, or the daemon. Knows nothing of what is done."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import msgspec

TIMEOUT_S = 2.0
# nvpmodel switches processor cores on and off, and may take its time.
MODE_TIMEOUT_S = 25.0
MAX_ANSWER = 4096


class RefusedError(OSError):
    """The one who was asked said no, and why."""


def set_through_helper(path: str, hz: int) -> None:
    """Have the GPU's clock capped. Raises OSError with the helper's own reason, or that there is none."""
    _have_set(path, "gpu_max_freq", hz)


def set_limit_through_helper(path: str, milliwatts: int) -> None:
    """Have a discrete GPU's power limited. Raises OSError as above."""
    _have_set(path, "gpu_power_limit_mw", milliwatts)


def set_mode_through_helper(path: str, mode_id: int) -> None:
    """Have the board take a power mode. Raises OSError as above."""
    _have_set(path, "mode", mode_id, MODE_TIMEOUT_S)


def _have_set(path: str, name: str, value: int, timeout_s: float = TIMEOUT_S) -> None:
    try:
        ask(path, {"set": name, "value": value}, timeout_s)
    except OSError as error:
        raise OSError(f"the power helper: {error}") from None


def ask(path: str, request: Mapping[str, object], timeout_s: float = TIMEOUT_S) -> str:
    """One request, one answer: what was done. Raises OSError; RefusedError with the reason."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            answer = connection.makefile("rb").readline(MAX_ANSWER)
    except OSError as error:
        raise OSError(f"nobody answers at {path}: {error.strerror or error}") from None
    try:
        told = msgspec.json.decode(answer, type=dict[str, str])
    except msgspec.DecodeError:
        raise OSError(f"the answer from {path} cannot be read") from None
    if error_text := told.get("error"):
        raise RefusedError(f"refused: {error_text}")
    return told.get("done", "")
