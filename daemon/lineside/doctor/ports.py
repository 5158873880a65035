"""Whether the daemon runs and how it is, and who holds its ports. Knows nothing of what it serves."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from lineside.config import Config
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.errors import LinesideError
from lineside.ports import StatusFacts
from lineside.security.files import CertificateFiles
from lineside.transport.grpc import client

SHY = "the key that the daemon is asked with may not be read or is missing"
SEE = "run it as the daemon's user or as root; lineside certs makes one"
FIND = "ss -ltnp shows who"


def ask_daemon(config: Config) -> StatusFacts | LinesideError | None:
    """What the running daemon says of itself, or why it does not; None where it cannot be asked at all."""
    try:
        return client.status(client.place_of(config)) if config.grpc.enabled and config.grpc.port else None
    except LinesideError as error:
        return error


def look(machine: Machine) -> Iterator[Finding]:
    """The daemon, and both ports."""
    config = machine.config.grpc
    asked = ask_daemon(machine.config)
    yield _daemon(machine.config, asked)
    if asked is None:
        yield finding("ports.grpc", "not_applicable", "no fixed port is configured")
    elif isinstance(asked, StatusFacts):
        yield finding("ports.grpc", "ok", f"{config.port} is held by our daemon")
    elif _is_shy(machine.config):
        yield finding("ports.grpc", "unknown", SHY, SEE)
    else:
        yield _free("ports.grpc", config.host, config.port, "[grpc] port")
    yield _mqtt(machine, asked)


def _is_shy(config: Config) -> bool:
    """Whether we cannot ask, the daemon running or not: with TLS that needs a key, which few may read."""
    return config.grpc.tls and not os.access(CertificateFiles(config.certs_path).server_key, os.R_OK)


def _daemon(config: Config, asked: StatusFacts | LinesideError | None) -> Finding:
    name = "daemon.state"
    if asked is None:
        return finding(name, "unknown", "without a port in [grpc] it cannot be asked")
    if _is_shy(config):
        return finding(name, "unknown", SHY, SEE)
    if isinstance(asked, LinesideError):
        todo = "systemctl start lineside, or lineside serve"
        return finding(name, "note", asked.message, todo, daemon="absent")
    seen = f"{asked.state}{': ' if asked.detail else ''}{asked.detail}"
    if asked.state == "ready":
        return finding(name, "ok", seen, daemon=asked.state)
    return finding(name, "warning", seen, "see its log: journalctl -u lineside", daemon=asked.state)


def _mqtt(machine: Machine, asked: StatusFacts | LinesideError | None) -> Finding:
    name, config = "ports.mqtt", machine.config.mqtt
    if config.broker != "managed" or not config.port:
        return finding(name, "not_applicable", "the broker is not the daemon's own, or has no fixed port")
    if isinstance(asked, StatusFacts) and asked.broker_connected:
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
