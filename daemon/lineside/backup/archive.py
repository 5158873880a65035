"""The archive: a manifest, then files, as a compressed tar. Knows nothing of what is in the files.

What is read is hostile: names are only compared, sizes are bounded by what the manifest says and the manifest
by a constant, and no header but a plain file's is accepted. (tarfile would read long headers whole.)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, NoReturn

import msgspec

from lineside.backup.parts import MAX_MEMBERS
from lineside.errors import LinesideError

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 18
CHUNK_BYTES = 1 << 20
_BLOCK = tarfile.BLOCKSIZE

Tell = Callable[[int], None]


class File(msgspec.Struct, frozen=True):
    """One file in the archive."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=99)]
    bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 42)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True):
    """What the archive holds, and where it was made. `machine`: a digest of the machine's id."""

    format: int
    version: str
    created_at: str
    machine: str
    files: Annotated[tuple[File, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    left_out: tuple[str, ...] = ()


class _Format(msgspec.Struct):
    format: int
    version: str = "?"


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream that becomes `path` when all has gone well, for its owner's eyes alone.

    A device, a directory or a link is left as it is.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise LinesideError("write", f"{path} is no plain file", "name a file, or one that is not there yet")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        sync_directory(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """What was renamed there stays renamed."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(stream: IO[bytes], manifest: Manifest, copies: Sequence[Path], tell: Tell) -> None:
    """The manifest and the files that it names, in its order."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest))
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.addfile(_header(MANIFEST, len(encoded)), io.BytesIO(encoded))
        for file, copy in zip(manifest.files, copies, strict=True):
            with copy.open("rb") as content:
                tar.addfile(_header(file.name, file.bytes), content)
            tell(file.bytes)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


class Reader:
    """Reads an archive from its beginning to its end, once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(fileobj=stream, mode="rb")

    def manifest(self) -> Manifest:
        """The first member."""
        size = self._next(MANIFEST)
        if size > MAX_MANIFEST_BYTES:
            _damaged(f"its manifest has {size} bytes, more than {MAX_MANIFEST_BYTES}")
        encoded = b"".join(self._content(size))
        try:
            head = msgspec.json.decode(encoded, type=_Format)
            if head.format > FORMAT:
                message = (
                    f"it has format {head.format}, written by lineside {head.version}; this reads {FORMAT}"
                )
                raise LinesideError("read backup", message, "restore it with that version or a newer one")
            manifest = msgspec.json.decode(encoded, type=Manifest)
        except (msgspec.MsgspecError, RecursionError) as error:
            _damaged(f"its manifest cannot be used: {error}")
        if len({file.name for file in manifest.files}) < len(manifest.files):
            _damaged("its manifest names a file twice")
        return manifest

    def read(self, file: File, into: IO[bytes] | None, tell: Tell) -> None:
        """The next member, which has to be this file, checked against its digest."""
        size, found = self._next(file.name), hashlib.sha256()
        if size != file.bytes:
            _damaged(f"{file.name} has {size} bytes, not {file.bytes}")
        for chunk in self._content(size):
            found.update(chunk)
            if into is not None:
                into.write(chunk)
            tell(len(chunk))
        if found.hexdigest() != file.sha256:
            _damaged(f"{file.name} is not what was saved (its digest differs)")

    def end(self) -> None:
        """Nothing but the end of the archive follows."""
        rest = self._read(tarfile.RECORDSIZE + 1)
        if any(rest) or len(rest) > tarfile.RECORDSIZE:
            _damaged("something follows its last file")

    def _next(self, name: str) -> int:
        block = self._take(_BLOCK)
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeError) as error:
            _damaged(f"where {name} should be: {error}")
        if header.type != tarfile.REGTYPE or header.name != name:
            _damaged(f"{header.name!r} stands where the file {name} should be")
        if header.size < 0:
            _damaged(f"{name} has {header.size} bytes")
        return header.size

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            chunk = self._take(min(left, CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        self._take(-size % _BLOCK)

    def _take(self, size: int) -> bytes:
        if len(taken := self._read(size)) < size:
            _damaged("it ends too early")
        return taken

    def _read(self, size: int) -> bytes:
        try:
            return self._packed.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            _damaged(str(error))


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


def _damaged(why: str) -> NoReturn:
    raise LinesideError(
        "read backup", f"this is no whole backup: {why}", "take another copy of the file"
    ) from None
