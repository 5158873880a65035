"""Files that are whole at every instant: as they were, or all of what is new. Knows not what is in them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A file to fill, which takes the place of `path`, on the disk, at the end. Raises OSError.

    Where anything is raised meanwhile, `path` stays as it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's 0600 would keep a daemon under another user from reading it.
        temporary.chmod(mode)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put `content` in the place of what `path` holds. Raises OSError."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
