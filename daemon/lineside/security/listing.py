"""All certificates of an authority, with the days left. Changes nothing, and stops at no file."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from lineside.errors import LinesideError
from lineside.security.authority import BEGIN, load_certificate, name_in, now
from lineside.security.files import CertificateFiles, is_there
from lineside.security.revoked import Revoked, read_revoked


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate as a list shows it. `wrong`: why nothing else of it is known."""

    name: str
    file: Path
    expires: datetime.datetime
    days_left: int
    revoked: bool = False
    wrong: str = ""


def certificates(files: CertificateFiles) -> list[Listed]:
    """Those in use, the next to expire first; what cannot be read before them, what is revoked after them.

    Raises LinesideError where there is no directory to look into.
    """
    try:
        found = set(os.listdir(files.directory))  # noqa: PTH208 - iterdir() gives no error where it is not read
        clients = sorted(files.clients.glob("*.pem")) if files.clients.name in found else []
    except OSError as error:
        hint = "lineside certs init makes it where [security] certs_dir says; run it as who may read it"
        raise LinesideError("read certificates", f"{files.directory}: {error.strerror}", hint) from error
    revoked, entries = _revoked(files)
    entries += [_entry(path, revoked) for path in (files.ca, files.server, *clients) if is_there(path)]
    taken_back = (files.issued / f"{serial:x}.pem" for serial in sorted(revoked.serials))
    entries += [_entry(path, revoked) for path in taken_back if is_there(path)]
    return sorted(entries, key=lambda entry: (entry.revoked, entry.expires))


def listed(path: Path, revoked: Revoked | None = None) -> Listed:
    """What a list shows of it. Raises LinesideError where it is no certificate."""
    certificate = load_certificate(path)
    expires = certificate.not_valid_after_utc
    taken_back = revoked is not None and certificate.serial_number in revoked.serials
    return Listed(name_in(certificate), path, expires, (expires - now()).days, taken_back)


def _revoked(files: CertificateFiles) -> tuple[Revoked, list[Listed]]:
    """The list, and what is wrong with it. Without an authority there is none to miss."""
    if not is_there(files.ca):
        return Revoked(), []
    try:
        return read_revoked(files), []
    except LinesideError as error:
        return Revoked(), [Listed("", files.revoked, BEGIN, 0, wrong=f"{error.message} ({error.hint})")]


def _entry(path: Path, revoked: Revoked) -> Listed:
    try:
        return listed(path, revoked)
    except LinesideError as error:
        return Listed("", path, BEGIN, 0, wrong=error.message)
