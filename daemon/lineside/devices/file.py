"""The registry's file: read by the daemon, replaced whole by the commands. Knows nothing of reports."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lineside.devices.registry import Registry
from lineside.errors import LinesideError
from lineside.plain_files import read_plain
from lineside.whole_file import write_whole

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 128 * 1024 * 1024
_decode = msgspec.json.Decoder(Registry).decode


class DeviceStore:
    """The registry as it is now. Thread-safe; a missing file is an empty one that may still appear."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: tuple[int, int, int] | None = None
        self._registry = Registry()
        if (current := _identity(path)) is not None:
            self._registry, self._file = read(path), current

    def registry(self) -> Registry:
        """The newest content. What was good before goes on where the file is unusable."""
        with self._lock:
            current = _identity(self._path)
            if current != self._file and current is not None:
                try:
                    self._registry = read(self._path)
                except LinesideError as error:
                    log.error("the devices stay as they were: %s", error)  # noqa: TRY400
                self._file = current
            return self._registry


def read(path: Path) -> Registry:
    """What the file holds; an empty registry where there is none."""
    try:
        return _decode(read_plain(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        return Registry()
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    except msgspec.MsgspecError as error:
        raise _unusable(path, str(error)) from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Registry]:
    """Hold the file for one change: read here, then `replace`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read(path)
    finally:
        os.close(lock)


def replace(path: Path, registry: Registry) -> Registry:
    """Put the registry in place of the file, as the next version. The caller holds it."""
    number = int(registry.version.partition("-")[0]) + 1
    content = msgspec.json.encode((registry.devices, registry.tags, registry.bits))
    version = f"{number}-{hashlib.sha256(content).hexdigest()[:8]}"
    registry = msgspec.structs.replace(registry, version=version)
    try:
        write_whole(path, msgspec.json.encode(registry))
    except OSError as error:
        raise _unwritable(path, error) from error
    return registry


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _unusable(path: Path, why: str) -> LinesideError:
    hint = "move the file away and import the devices again: lineside devices import FILE..."
    return LinesideError("read devices", f"{path} cannot be used: {why}", hint)


def _unwritable(path: Path, error: OSError) -> LinesideError:
    hint = f"work as a user who may write to {path.parent}, or set devices.path"
    return LinesideError("write devices", f"{path}: {error.strerror}", hint)
