"""Where the certificates lie, and how they are written and read. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from lineside.errors import LinesideError
from lineside.plain_files import read_plain

MAX_PEM_BYTES = 65_536


class CertificateFiles:
    """The paths in one directory: the authority's, the server's, each client's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.ca_key = directory / "ca.key"
        self.server = directory / "server.pem"
        self.server_key = directory / "server.key"
        self.clients = directory / "clients"
        self.revoked = directory / "crl.pem"
        self.issued = directory / "issued"

    def client(self, name: str) -> tuple[Path, Path]:
        """A client's certificate and key. A device's id has slashes, which a file's name cannot have."""
        stem = quote(name, safe=" ")
        return self.clients / f"{stem}.pem", self.clients / f"{stem}.key"

    def client_names(self) -> list[str]:
        """Of the clients that have a certificate here."""
        return [unquote(path.stem) for path in sorted(self.clients.glob("*.pem"))]


def is_there(path: Path) -> bool:
    """Whether there is something under that name, if only a link that leads nowhere."""
    return os.path.lexists(path)


def read_pem(path: Path, most_bytes: int = MAX_PEM_BYTES) -> bytes:
    """A certificate, key or list. Raises LinesideError for one that cannot be read."""
    try:
        raw = read_plain(path, most_bytes)
    except OSError as error:
        hint = (
            "lineside certs init, then server NAME... makes it where [security] certs_dir says; "
            "the daemon's user has to be able to read it"
        )
        raise LinesideError("read certificates", f"{path}: {error.strerror}", hint) from error
    if b"-----BEGIN" not in raw:
        hint = "put a certificate or key in PEM there, or make one with lineside certs"
        raise LinesideError("read certificates", f"{path} holds no PEM", hint)
    return raw


@contextlib.contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Waits until nobody else changes what is in `directory`. Raises LinesideError where there is none."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = "lineside certs init makes it where [security] certs_dir says"
        raise LinesideError("read certificates", f"{directory}: {error.strerror}", hint) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads: the whole of it, or nothing."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        scratch.replace(path)
    except OSError as error:
        hint = "run it as a user who may write there, or set [security] certs_dir"
        raise LinesideError("write certificates", f"{path}: {error.strerror}", hint) from error
