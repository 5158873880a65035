"""Asks the privileged helper. Knows nothing of what it does."""

from __future__ import annotations

import socket

import msgspec

TIMEOUT_S = 2.0
MAX_ANSWER = 4096


def set_through_helper(path: str, hz: int) -> None:
    """Have the GPU's clock capped. Raises OSError with the helper's own reason, or that there is none."""
    ask_helper(path, {"set": "gpu_max_freq", "value": hz})


def ask_helper(path: str, request: dict[str, object]) -> None:
    """One request, one answer. Raises OSError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            answer = connection.makefile("rb").readline(MAX_ANSWER)
    except OSError as error:
        raise OSError(f"the power helper does not answer at {path}: {error.strerror or error}") from None
    try:
        told = msgspec.json.decode(answer, type=dict[str, str])
    except msgspec.DecodeError:
        raise OSError("the power helper's answer cannot be read") from None
    if error_text := told.get("error"):
        raise OSError(f"the power helper refuses: {error_text}")
