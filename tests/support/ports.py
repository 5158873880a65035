"""Ports to listen on. Knows nothing of who does."""

from __future__ import annotations

import secrets
import socket

# Below those that Linux gives to outgoing connections, one of which might be given the port meanwhile.
PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A loopback port that nobody listens on. Drawn, so that two who ask at once get different ones."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            # As servers do: an old connection in TIME_WAIT does not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
