"""Whether the daemon runs and how it is, and who holds its ports. Knows nothing of what it serves."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from lineside.config import GrpcConfig
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.errors import LinesideError
from lineside.ports import StatusFacts
from lineside.transport.grpc import client

FIND = "ss -ltnp shows who"


def ask_daemon(config: GrpcConfig) -> StatusFacts | None:
    """What the running daemon says of itself; None where none answers."""
    try:
        return client.status(client.address_of(config)) if config.enabled and config.port else None
    except LinesideError:
        return None


def look(machine: Machine) -> Iterator[Finding]:
    """The daemon, and both ports."""
    config = machine.config
    status = ask_daemon(config.grpc)
    yield _daemon(config.grpc, status)
    if not config.grpc.enabled or not config.grpc.port:
        yield finding("ports.grpc", "not_applicable", "no fixed port is configured")
    elif status is not None:
        yield finding("ports.grpc", "ok", f"{config.grpc.port} is held by our daemon")
    else:
        yield _free("ports.grpc", config.grpc.host, config.grpc.port, "[grpc] port")
    yield _mqtt(machine, status)


def _daemon(config: GrpcConfig, status: StatusFacts | None) -> Finding:
    name = "daemon.state"
    if not config.enabled:
        return finding(name, "unknown", "without [grpc] it cannot be asked")
    if status is None:
        return finding(
            name, "note", "no daemon answers", "systemctl start lineside, or lineside serve", daemon="absent"
        )
    seen = f"{status.state}{': ' if status.detail else ''}{status.detail}"
    if status.state == "ready":
        return finding(name, "ok", seen, daemon=status.state)
    return finding(name, "warning", seen, "see its log: journalctl -u lineside", daemon=status.state)


def _mqtt(machine: Machine, status: StatusFacts | None) -> Finding:
    name, config = "ports.mqtt", machine.config.mqtt
    if config.broker != "managed" or not config.port:
        return finding(name, "not_applicable", "the broker is not the daemon's own, or has no fixed port")
    if status is not None and status.broker_connected:
        return finding(name, "ok", f"{config.port} is held by our daemon's broker")
    return _free(name, config.host, config.port, "[mqtt] port")


def _free(name: str, host: str, port: int, key: str) -> Finding:
    """Whether the daemon could listen there, tried by listening for a moment."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            todo = f"stop what listens there ({FIND}), or set {key} to a free one"
            return finding(name, "problem", f"{port} of {host} is held by something else", todo)
        todo = f"name an address of this machine, or a port that may be taken: {key}"
        return finding(name, "problem", f"{port} of {host}: {error.strerror or error}", todo)
    return finding(name, "ok", f"{port} of {host} is free")
