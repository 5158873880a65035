"""Which certificates the plant's authority has taken back. Makes no list, and knows no wire.

Without a list nobody could be told from whom it names: there has to be one, if an empty one. A list does not
expire: an authority that is kept offline makes none anew.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from lineside.errors import LinesideError, Reason, RejectedError
from lineside.security.authority import load_certificate
from lineside.security.files import CertificateFiles, read_pem

logger = logging.getLogger(__name__)

OPERATION = "read the revocation list"
LOST_HINT = (
    "put it back from a copy, or copy it from where the authority is kept; "
    "where nobody was ever revoked: lineside certs init --list"
)
MAX_REVOKED = 10_000
MAX_LIST_BYTES = 1_048_576
# Connections whose certificates are remembered as numbers.
MAX_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class Revoked:
    """A list: its number, which grows with each, and the certificates' serial numbers."""

    number: int = 0
    serials: frozenset[int] = frozenset()


class RevocationList:
    """The list as it is now: its file is looked at whenever it is asked. Not for several threads.

    Raises LinesideError where there is none to begin with, or one that cannot be used.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._file = _identity(files)
        self._revoked = read_revoked(files)

    def check(self, certificate: bytes) -> None:
        """Raises RejectedError(UNAUTHENTICATED) for one in PEM that has been taken back, or none at all."""
        self._look()
        if not certificate:
            raise RejectedError(Reason.UNAUTHENTICATED, "a client's certificate is needed")
        if self._revoked.serials and serial_of(certificate) in self._revoked.serials:
            message = "this certificate is revoked: ask for another (lineside certs client)"
            raise RejectedError(Reason.UNAUTHENTICATED, message)

    def _look(self) -> None:
        """Take a list that has been put there; what was revoked stays so where it cannot be taken."""
        found = _identity(self._files)
        if found == self._file:
            return
        self._file = found
        try:
            new = read_revoked(self._files)
        except LinesideError as error:
            logger.error("the former revocation list holds on: %s", error)  # noqa: TRY400 - says what to do
            return
        if new.number < self._revoked.number:
            logger.error("the former revocation list holds on: the one put there is older")
            return
        self._revoked = new
        logger.info("revocation list read", extra={"number": new.number, "revoked": len(new.serials)})


def read_revoked(files: CertificateFiles) -> Revoked:
    """The list in its file. Raises LinesideError for one that is not of this authority."""
    revocations = load_list(files)
    if not revocations.is_signature_valid(load_certificate(files.ca).public_key()):  # type: ignore[arg-type]
        hint = "copy crl.pem from where the authority is kept, with the ca.pem beside it"
        raise LinesideError(OPERATION, f"{files.revoked} is not of the authority in {files.ca}", hint)
    return Revoked(number_of(revocations), frozenset(entry.serial_number for entry in revocations))


def load_list(files: CertificateFiles) -> x509.CertificateRevocationList:
    """The list as it is written. Raises LinesideError."""
    return list_in(files.revoked)


def list_in(path: Path) -> x509.CertificateRevocationList:
    """The list in any file. Raises LinesideError."""
    try:
        raw = read_pem(path, MAX_LIST_BYTES)
    except LinesideError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            message = f"{path} is not there: nobody knows whose certificates were revoked"
            raise LinesideError(OPERATION, message, LOST_HINT) from error.__cause__
        raise
    try:
        return x509.load_pem_x509_crl(raw)
    except ValueError as error:
        hint = f"put the authority's there, in PEM; or move it away, and {LOST_HINT}"
        raise LinesideError(OPERATION, f"{path} holds no revocation list", hint) from error


def number_of(revocations: x509.CertificateRevocationList) -> int:
    """Which of the authority's lists it is; 0 where it does not say."""
    try:
        return revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


@lru_cache(maxsize=MAX_KNOWN)
def serial_of(certificate: bytes) -> int:
    """A certificate's number. TLS has verified it: it is one."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def _identity(files: CertificateFiles) -> tuple[int, int, int] | None:
    """What changes when the file does; None where there is none."""
    try:
        found = os.stat(files.revoked)  # noqa: PTH116 - asked at each call
    except FileNotFoundError:
        return None
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size
