"""The service manager's side of the notification protocol, for tests: a real socket of its kind."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path


class Manager:
    """Receives what a service tells."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def close(self) -> None:
        self._socket.close()

    def next(self, timeout_s: float = 20.0) -> dict[str, str]:
        """The next message."""
        self._socket.settimeout(timeout_s)
        message = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))
        self.heard.append(message)
        return message

    def wait_for(self, name: str, timeout_s: float = 30.0) -> str:
        """The value of the next message that has `name`."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            with contextlib.suppress(TimeoutError):
                message = self.next(max(0.01, end_s - time.monotonic()))
                if name in message:
                    return message[name]
        raise AssertionError(f"no {name} in {self.heard}")

    def hears(self, name: str, within_s: float) -> bool:
        """Whether it comes."""
        try:
            self.wait_for(name, within_s)
        except AssertionError:
            return False
        return True

    def drop(self) -> None:
        """Forget what has come and was not looked at."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(4096):
                pass


@contextlib.contextmanager
def listening(directory: Path) -> Iterator[Manager]:
    """A manager on a socket in `directory`."""
    manager = Manager(str(directory / "notify"))
    try:
        yield manager
    finally:
        manager.close()
