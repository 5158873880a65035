"""The privileged helper: two verbs on a Unix socket, every value from the board's own table, nothing else.

The verbs are to cap the GPU and to take a power mode. A cap is a clock of the devfreq table on a board, or a
power limit within NVML's bounds on a PC, and the request names which: a number never changes its unit.

It runs as root beside a daemon that does not. Peers are told by the kernel (SO_PEERCRED): root, and one user.
The socket comes from systemd (LISTEN_FDS), or is made here.
"""

from __future__ import annotations

import logging
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from lineside.errors import LinesideError
from lineside.power.gpu import find_gpu
from lineside.power.gpu_cap import write_cap
from lineside.power.gpu_limit import write_limit
from lineside.power.nvml import find_nvml
from lineside.power.peers import Peers
from lineside.power.power_mode import run_nvpmodel

log = logging.getLogger(__name__)

LISTEN_FD = 3


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the helper understands: the GPU's cap, in hertz or milliwatts, or a mode's ID."""

    set: Literal["gpu_max_freq", "gpu_power_limit_mw", "mode"]
    value: int


@dataclass(frozen=True, slots=True)
class Helper:
    """Answers one peer after another. `allowed`: the user IDs that may ask."""

    root: Path
    allowed: frozenset[int]

    def serve(self, listener: socket.socket, go_on: Callable[[], bool] = lambda: True) -> None:
        """See Peers.serve."""
        peers = Peers(
            self.allowed.__contains__, lambda line, _: self.carry_out(msgspec.json.decode(line, type=Request))
        )
        peers.serve(listener, go_on)

    def carry_out(self, request: Request) -> str:
        """One verb. Raises ValueError, OSError or LinesideError with the reason."""
        if request.set == "mode":
            return run_nvpmodel(self.root, request.value)
        if request.set == "gpu_power_limit_mw":
            return _limit_gpu(request.value)
        gpu = find_gpu(self.root)
        if gpu is None:
            raise ValueError("this board has no GPU whose clock can be capped")
        write_cap(gpu, request.value)
        return f"gpu_max_freq is {request.value}"


def _limit_gpu(milliwatts: int) -> str:
    device = find_nvml()
    if isinstance(device, str):
        raise ValueError(device)  # noqa: TRY004 the reason why there is none
    if device.limit is None:
        raise ValueError(f"{device.name} has no power limit that can be set")
    write_limit(device.limit, milliwatts)
    return f"gpu_power_limit_mw is {milliwatts}"


def run_helper(path: str, user: str, root: Path) -> None:
    """Serve for ever, for root and `user`."""
    try:
        allowed = frozenset({0, pwd.getpwnam(user).pw_uid})
    except KeyError:
        hint = "create the daemon's user, or name another with --user"
        raise LinesideError("start power helper", f"there is no user {user}", hint) from None
    with _listener(path, user) as listener:
        Helper(root, allowed).serve(listener)


def _listener(path: str, user: str) -> socket.socket:
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=LISTEN_FD)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        listener.listen(4)
    except OSError as error:
        listener.close()
        hint = "name a path that can be written with --socket"
        raise LinesideError("start power helper", f"{path}: {error.strerror or error}", hint) from error
    return listener
