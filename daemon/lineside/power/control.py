"""Where operators set the limit: a Unix socket of the daemon's, whose peers the kernel names."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lineside.power.peers import Peers
from lineside.power.settings import Change, Settings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Control:
    """A listening socket and the thread that answers on it."""

    path: Path
    listener: socket.socket
    peers: Peers
    _stopping: bool = field(default=False, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Answer from now on."""
        self._thread = threading.Thread(target=self._serve, name="power-control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a peer that is being answered has its time."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(3.0)
        self.listener.close()
        with contextlib.suppress(OSError):  # a disk that became read-only; the next start takes it away
            self.path.unlink()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # shut down under accept: that is the end
            self.peers.serve(self.listener, lambda: not self._stopping)


def start_control(settings: Settings, path: Path, operators: Sequence[str]) -> Control | None:
    """The socket, in the state directory; None, with a warning, where there can be none."""

    def carry_out(line: bytes, uid: int) -> str:
        change = msgspec.json.decode(line, type=Change)
        return settings.change(msgspec.structs.replace(change, by=user_name(uid)))

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o666)  # whoever may enter the directory may ask; who may set is judged by name
        listener.listen(4)
    except OSError as error:
        listener.close()
        log.warning("power can only be set in the configuration: %s", error, extra={"socket": str(path)})
        return None
    control = Control(path, listener, Peers(lambda uid: is_operator(uid, operators), carry_out))
    control.start()
    return control


def is_operator(uid: int, operators: Sequence[str]) -> bool:
    """Root, the daemon's own user, and those that the configuration names: a user, or @ and a group."""
    if uid in (0, os.geteuid()):
        return True
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    groups = set()
    for gid in os.getgrouplist(user.pw_name, user.pw_gid):
        with contextlib.suppress(KeyError):
            groups.add(f"@{grp.getgrgid(gid).gr_name}")
    return user.pw_name in operators or bool(groups & set(operators))


def user_name(uid: int) -> str:
    """The user's name, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
