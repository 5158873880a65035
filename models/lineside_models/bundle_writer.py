"""A bundle's directory, whole or not at all. Knows nothing of what its files mean.

Files are written into a hidden sibling, made durable, and swapped in by one rename. A build that was cut
off leaves the old bundle as it was, and a hidden sibling that the next build clears away.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lineside.engine.bundle import MANIFEST
from lineside_models.errors import BuildError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A directory to write into; it becomes `target` when the block ends without an exception."""
    target = target.absolute()
    _check_target(target)
    partial, old = (target.with_name(f".{target.name}.{role}") for role in ("partial", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial):
            _clear_rubbish(target, partial, old)
            try:
                yield partial
                _make_durable(partial)
                _swap(partial, target, old)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            _sync_directory(target.parent)
            for leftover in (partial, old):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        hint = "free some space there or give another --output"
        raise BuildError("write bundle", f"{error.filename or target}: {error.strerror}", hint) from error


def _check_target(target: Path) -> None:
    if not target.exists() or (target / MANIFEST).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        message = f"{target} exists and is not a bundle"
        raise BuildError("write bundle", message, "give --output a new directory, or remove that one")


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(exist_ok=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another build is writing {directory}"
            raise BuildError(
                "write bundle", message, "wait for it to end, or give another --output"
            ) from None
        yield
    finally:
        os.close(handle)


def _clear_rubbish(target: Path, partial: Path, old: Path) -> None:
    """Undo what a build that was killed left behind."""
    for entry in partial.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if old.exists() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _make_durable(directory: Path) -> None:
    for entry in directory.iterdir():
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(partial: Path, target: Path, old: Path) -> None:
    """Put the new directory in the old one's place: at once where the file system can exchange names."""
    if not target.exists():
        partial.rename(target)
    elif not _exchange(partial, target):
        target.rename(old)
        partial.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(one))
