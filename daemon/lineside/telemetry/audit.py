"""A record of every request: journald's fields under systemd, else a JSON line. Knows no request."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

import msgspec

from lineside.ports import AuditRecord

JOURNALD = Path("/run/systemd/journal/socket")
# Of a payload that was asked for.
MAX_PAYLOAD = 4096

Write = Callable[[dict[str, Any]], None]


class Audit:
    """Implements ports.Auditor; from any thread, never waits for journald."""

    def __init__(self, write: Write, *, payloads: bool = False) -> None:
        self.payloads = payloads
        self._write = write

    def record(self, record: AuditRecord) -> None:
        """See ports.Auditor."""
        fields = {name: value for name in record.__struct_fields__ if (value := getattr(record, name)) != ""}
        if payload := fields.pop("payload", ""):
            fields |= {"payload": payload[:MAX_PAYLOAD]} if self.payloads else {}
        self._write(fields)


def make_audit(mode: str) -> Audit:
    """As `[telemetry] audit` says: on, payload, or off."""
    if mode == "off":
        return Audit(lambda _: None)
    return Audit(writer(os.environ), payloads=mode == "payload")


def writer(environment: Mapping[str, str], journald: Path = JOURNALD, stream: TextIO | None = None) -> Write:
    """Where records go."""
    if "JOURNAL_STREAM" in environment and journald.is_socket():
        return JournaldWriter(journald)
    return lambda fields: write_line(fields, stream or sys.stderr)


def write_line(fields: dict[str, Any], stream: TextIO) -> None:
    """One line of JSON, written at once so that threads do not mix theirs."""
    when = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    stream.write(msgspec.json.encode({"audit": {"when": when, **fields}}).decode() + "\n")
    stream.flush()


class JournaldWriter:
    """Sends datagrams of journald's own protocol. What it does not take is counted in the next record."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._lock = threading.Lock()
        self._lost = 0

    def __call__(self, fields: dict[str, Any]) -> None:
        """One record."""
        with self._lock:
            lost = {"lost": self._lost} if self._lost else {}
            try:
                self._socket.sendto(datagram({**fields, **lost}), self._path)
            except OSError:  # it is being restarted, or behind
                self._lost += 1
            else:
                self._lost = 0


def datagram(fields: Mapping[str, Any]) -> bytes:
    """The record as journald reads it: LINESIDE_WHO and so on, and a line for people."""
    message = " ".join(str(fields.get(name, "")) for name in ("who", "what", "outcome"))
    lines = [b"PRIORITY=6\nSYSLOG_IDENTIFIER=lineside-audit\n", _field("MESSAGE", message)]
    lines += [_field(f"LINESIDE_{name.upper()}", str(value)) for name, value in fields.items()]
    return b"".join(lines)


def _field(name: str, value: str) -> bytes:
    """Whatever has a line break is preceded by its length, so that nobody can write a field of his own."""
    raw = value.encode("utf-8", "replace")
    if b"\n" not in raw:
        return name.encode() + b"=" + raw + b"\n"
    return name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
