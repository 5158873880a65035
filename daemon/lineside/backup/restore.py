"""Puts a backup back, whole or not at all. Knows nothing of how one is taken.

Every file is first written beside its place, checked, and on the disk. Then a marker is written: from there
on, the restore is only ever finished, by renaming, at the latest at the daemon's next start. What was there
is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

import msgspec

from lineside.backup.archive import Manifest, Reader, sync_directory, written_whole
from lineside.backup.check import check_content
from lineside.backup.parts import Part, Place
from lineside.backup.take import Progress
from lineside.errors import LinesideError
from lineside.journal_file import take
from lineside.plain_files import open_plain

OPERATION = "restore"
_SQLITE_OWN = ("-wal", "-shm")


class Marker(msgspec.Struct, frozen=True):
    """A restore that has begun: the files' names in the backup, never paths. `stamp` ends what is kept."""

    stamp: str
    new: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and what was kept of before."""

    manifest: Manifest
    names: tuple[str, ...]
    kept: tuple[Path, ...]


def restore(here: Place, archive: Path, progress: Progress, *, configuration: bool) -> Restored:
    """Put the backup in place of what is here; with the configuration, or with the data alone."""
    with _alone(here), _operation(archive):
        finish(here)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
        staged: list[Path] = []
        try:
            with _opened(archive) as stream:
                manifest, parts = _stage(here, Reader(stream), staged, progress, configuration=configuration)
            for directory in {path.parent for path in staged}:
                sync_directory(directory)
            marker = _plan(here, parts, stamp)
            with written_whole(here.marker) as out:
                out.write(msgspec.json.encode(marker))
        finally:
            if not here.marker.exists():
                for path in staged:
                    path.unlink(missing_ok=True)
        return Restored(manifest, marker.new, tuple(finish(here)))


def finish(here: Place) -> list[Path]:
    """Do what a begun restore has left to do; what is kept of before. The caller has taken the journal."""
    marker = _read(here.marker)
    if marker is None:
        return []
    for name in marker.gone:
        _set_aside(_part(here, name).path, marker.stamp)
    for name in marker.new:
        part = _part(here, name)
        new = _staged(part.path)
        if new.exists():
            _set_aside(part.path, marker.stamp)
            new.replace(part.path)
            sync_directory(part.path.parent)
    here.marker.unlink()
    sync_directory(here.marker.parent)
    candidates = (_aside(_part(here, name).path, marker.stamp) for name in (*marker.new, *marker.gone))
    return [path for path in candidates if path.exists()]


def finish_begun(here: Place) -> None:
    """At the daemon's start: a restore that was cut off is finished before anything is opened."""
    if here.marker.exists():
        with _alone(here), _operation(here.marker):
            finish(here)


def _opened(archive: Path) -> BinaryIO:
    try:
        return open_plain(archive)
    except OSError as error:
        hint = "name the file that lineside backup wrote, and that you may read"
        raise LinesideError(OPERATION, f"{archive}: {error.strerror}", hint) from error


def _stage(
    here: Place, reader: Reader, staged: list[Path], progress: Progress, *, configuration: bool
) -> tuple[Manifest, list[Part]]:
    """Every file, checked, beside its place; `staged` grows with them."""
    manifest = reader.manifest()
    total, done = sum(file.bytes for file in manifest.files), 0
    known = [(file, _part(here, file.name)) for file in manifest.files]
    wanted = [(file, part) for file, part in known if configuration or not part.is_configuration]
    _has_room(here, total)

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress("reading", done, total)

    for file, part in known:
        if (file, part) not in wanted:
            reader.read(file, None, tell)
            continue
        _make_directory(part.path.parent)
        new = _staged(part.path)
        staged.append(new)
        with os.fdopen(_created(new, database=part.database), "wb") as out:
            reader.read(file, out, tell)
            out.flush()
            os.fsync(out.fileno())
        check_content(part, new, here)
    reader.end()
    return manifest, [part for _, part in wanted]


def _plan(here: Place, parts: list[Part], stamp: str) -> Marker:
    new = tuple(part.name for part in parts)
    gone = [p.name for p in here.present() if p.name not in new and not p.is_configuration]
    # A configuration that the backup does not have stays: without it, nothing of the rest would be found.
    return Marker(stamp, new, tuple(gone))


def _has_room(here: Place, needed: int) -> None:
    directory = next(path for path in here.journal.parents if path.exists())
    if (free := shutil.disk_usage(directory).free) < needed:
        message = f"{needed} bytes are needed in {directory}, {free} are free"
        raise LinesideError(OPERATION, message, "make room, or restore to another --root")


def _make_directory(path: Path) -> None:
    """With the owner of what it is in."""
    if path.exists():
        return
    _make_directory(path.parent)
    path.mkdir(mode=0o755)
    _give(path, path.parent)


def _created(path: Path, *, database: bool) -> int:
    """A new file that the owner of its directory owns; what an earlier attempt left there goes."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    # As the commands that make such files leave them: what the daemon alone writes is for nobody else.
    os.fchmod(handle, 0o600 if database else 0o644)
    _give(path, path.parent)
    return handle


def _give(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _set_aside(path: Path, stamp: str) -> None:
    """Keep it under another name, with SQLite's own files, of which a stale one would spoil what comes."""
    for own in ("", *_SQLITE_OWN):
        old, kept = Path(f"{path}{own}"), Path(f"{_aside(path, stamp)}{own}")
        if old.exists() and not kept.exists():
            old.rename(kept)


def _aside(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.before-{stamp}")


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.restored")


def _part(here: Place, name: str) -> Part:
    if (part := here.part(name)) is None:
        raise LinesideError(
            OPERATION, f"the backup holds {name!r}, which is no part of one", "take another file"
        )
    return part


def _read(path: Path) -> Marker | None:
    try:
        marker = msgspec.json.decode(path.read_bytes(), type=Marker)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise LinesideError(
            OPERATION, f"{path}: {error}", "remove it, and restore the backup again"
        ) from error
    if not re.fullmatch(r"[0-9]{8}T[0-9]{12}Z", marker.stamp):
        raise LinesideError(OPERATION, f"{path}: not written by lineside", "remove it, and restore again")
    return marker


@contextlib.contextmanager
def _alone(here: Place) -> Iterator[None]:
    """No daemon runs on this state meanwhile."""
    _make_directory(here.journal.parent)
    handle = take(here.journal)
    with contextlib.suppress(OSError):
        _give(here.journal.with_name(f"{here.journal.name}.lock"), here.journal.parent)
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _operation(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = (
            "work as root, or as a user who may write there; `lineside restore --finish` ends what was begun"
        )
        raise LinesideError(OPERATION, f"{error.filename or path}: {error.strerror}", hint) from error
