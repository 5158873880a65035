"""systemd's notification protocol: a datagram of NAME=value lines. Knows nothing of what there is to tell."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells the service manager; nobody where none asked. `watchdog_s` 0: it does not want to be fed."""

    address: str = ""
    watchdog_s: float = 0.0

    def send(self, **fields: object) -> None:
        """One message. A manager that cannot be reached is no reason to stop."""
        if not self.address:
            return
        message = "\n".join(f"{name}={_line(value)}" for name, value in fields.items())
        # A leading @ is how the environment writes an abstract address.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told", extra={"what": message, "error": str(error)})


def from_environment(environment: Mapping[str, str] = os.environ) -> Notifier:
    """The manager that started this process, as it says in the environment."""
    address = environment.get("NOTIFY_SOCKET", "")
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = environment.get("WATCHDOG_USEC", "") if meant else ""
    return Notifier(address, int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0)


def _line(value: object) -> str:
    return str(value).replace("\n", " ")
