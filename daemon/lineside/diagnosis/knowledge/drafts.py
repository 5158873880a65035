"""Imports that wait for a named person: a file for each source beside the base. No search reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lineside.diagnosis.knowledge.entry import Entry
from lineside.errors import LinesideError
from lineside.whole_file import write_whole

MAX_DRAFTS = 256


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """All entries that a source will have; `digest` changes with them."""

    source: str
    imported_at: str
    files: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """Names the content, so that what was reviewed is what is approved."""
        return hashlib.sha256(msgspec.json.encode(self.entries)).hexdigest()[:8]


_decode = msgspec.json.Decoder(Draft).decode


def save(store: Path, draft: Draft) -> None:
    """Keep the draft in place of the source's last one."""
    folder, path = _folder(store), _path(store, draft.source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and sum(1 for _ in folder.glob("*.json")) >= MAX_DRAFTS:
            message = f"{MAX_DRAFTS} drafts wait already"
            raise LinesideError("keep draft", message, "approve or remove some: lineside kb list")
        write_whole(path, msgspec.json.encode(draft), 0o600)
    except OSError as error:
        raise _unusable("keep draft", folder, error) from error


def load(store: Path, source: str) -> Draft | None:
    """The source's draft; None: there is none."""
    path = _path(store, source)
    return _read(path) if path.exists() else None


def drafts(store: Path) -> Iterator[Draft]:
    """Every draft, in the order of sources."""
    yield from sorted(map(_read, _folder(store).glob("*.json")), key=lambda draft: draft.source)


def discard(store: Path, source: str) -> bool:
    """Throw the source's draft away; False: there was none."""
    path = _path(store, source)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable("remove draft", path, error) from error
    return True


def _read(path: Path) -> Draft:
    try:
        return _decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise _unusable("read draft", path, error) from error


def _folder(store: Path) -> Path:
    return store.with_name(f"{store.name}.drafts")


def _path(store: Path, source: str) -> Path:
    # Sources are free text; a digest of one is a file's name everywhere.
    return _folder(store) / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.json"


def _unusable(operation: str, path: Path, error: Exception) -> LinesideError:
    hint = "work as a user who may read and write there; delete a damaged draft and import it again"
    return LinesideError(operation, f"{path}: {error}", hint)
