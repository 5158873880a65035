"""Takes a backup while the daemon works. Knows nothing of restoring."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from lineside import __version__
from lineside.backup.archive import FORMAT, File, Manifest, digest, write, written_whole
from lineside.backup.parts import Part, Place
from lineside.errors import LinesideError

OPERATION = "back up"
BUSY_TIMEOUT_S = 30.0
PAGES_A_STEP = 256

# What is being done, how many bytes of it are done, and of how many.
Progress = Callable[[str, int, int], None]


def back_up(here: Place, target: Path, progress: Progress) -> Manifest:
    """Copy the state into `target`, whole or not at all. Takes twice the state's room while it works."""
    parts = here.present()
    if not parts:
        raise LinesideError(
            OPERATION, "there is nothing to save", "name the daemon's configuration: --config"
        )
    if target.exists() and not target.is_file():
        raise LinesideError(OPERATION, f"{target} is no file", "name a file, which is replaced")
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".lineside-backup-", dir=target.absolute().parent) as scratch,
            written_whole(target.absolute()) as stream,
        ):
            copies = [Path(scratch, str(number)) for number in range(len(parts))]
            for part, copy in zip(parts, copies, strict=True):
                _copy(part, copy, progress)
            manifest = _manifest(here, parts, copies)
            total, done = sum(file.bytes for file in manifest.files), 0

            def tell(count: int) -> None:
                nonlocal done
                done += count
                progress("writing", done, total)

            write(stream, manifest, copies, tell)
    except OSError as error:
        hint = "work as root or the daemon's user, into a directory with room for twice the state"
        raise LinesideError(OPERATION, f"{error.filename or target}: {error.strerror}", hint) from error
    return manifest


def _copy(part: Part, copy: Path, progress: Progress) -> None:
    if part.database:
        _copy_database(part, copy, progress)
    else:
        # Such files are replaced, never changed: what is opened stays what it is.
        shutil.copyfile(part.path, copy)
    copy.chmod(0o600)


def _copy_database(part: Part, copy: Path, progress: Progress) -> None:
    """One instant of it, however long the copying takes: writers go on beside the open transaction."""
    uri = f"{part.path.absolute().as_uri()}?mode=rw"
    try:
        with (
            contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            ) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            page_bytes = source.execute("PRAGMA page_size").fetchone()[0]
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()

            def tell(_: int, left: int, total: int) -> None:
                progress(f"copying {part.name}", (total - left) * page_bytes, total * page_bytes)

            source.backup(target, pages=PAGES_A_STEP, progress=tell, sleep=0)
            source.execute("COMMIT")
            # One file, which needs no second one beside it.
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        hint = "work as root or the daemon's user; a damaged file makes the daemon say so at its start"
        raise LinesideError(OPERATION, f"{part.path}: {error}", hint) from error


def _manifest(here: Place, parts: list[Part], copies: list[Path]) -> Manifest:
    files = tuple(
        File(part.name, copy.stat().st_size, digest(copy)) for part, copy in zip(parts, copies, strict=True)
    )
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Manifest(FORMAT, __version__, now, machine(here.root), files, tuple(here.left_out()))


def machine(root: Path) -> str:
    """Tells machines apart without telling the machine's id, which is to stay on it."""
    try:
        own = (root / "etc/machine-id").read_bytes().strip() or os.uname().nodename.encode()
    except OSError:
        own = os.uname().nodename.encode()
    return hashlib.sha256(b"lineside:" + own).hexdigest()[:16]
