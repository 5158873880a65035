"""Takes certificates back: writes the authority's revocation list. Knows nothing of who honours it.

Each list begins one second after the one before, counted from 2020, and ends with the authority: whatever a
board's clock says it is in force, and of two lists the newer one is told.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from lineside.errors import LinesideError
from lineside.security.authority import (
    BEGIN,
    load_authority,
    load_certificate,
    name_in,
    right_now,
)
from lineside.security.files import CertificateFiles, exclusively, is_there, write_private
from lineside.security.names import SERVER_NAME
from lineside.security.revoked import MAX_REVOKED, load_list, number_of, read_revoked

OPERATION = "revoke certificates"


def create_list(files: CertificateFiles) -> None:
    """The authority's first list: nothing is revoked. Raises LinesideError where there is one."""
    with exclusively(files.directory):
        if is_there(files.revoked):
            hint = "keep it: whom it names stays revoked; lineside certs revoke adds to it"
            raise LinesideError(OPERATION, f"there is a list already: {files.revoked}", hint)
        _write(files, 1, [])


def revoke(files: CertificateFiles, name: str) -> int:
    """Take back every certificate that was ever made for a client; returns how many. Its files are removed.

    The files go last: whoever is interrupted does it again.
    """
    if name == SERVER_NAME:
        hint = "clients read no list: move the directory away and issue every certificate anew"
        raise LinesideError(OPERATION, f"{name} is the daemon itself", hint)
    with exclusively(files.directory):
        serials = serials_of(files, name)
        if not serials:
            hint = "lineside certs list shows the names; run it where the authority is kept"
            raise LinesideError(OPERATION, f"no certificate for {name!r} was made here", hint)
        read_revoked(files)  # before another is built upon it
        found = load_list(files)
        entries = list(found)
        known = {entry.serial_number for entry in entries}
        entries += [_entry(serial) for serial in sorted(serials - known)]
        _write(files, number_of(found) + 1, entries)
        for path in files.client(name):
            path.unlink(missing_ok=True)
    return len(serials)


def serials_of(files: CertificateFiles, name: str) -> set[int]:
    """The numbers of all certificates with that name. Raises LinesideError where one cannot be read."""
    own = [path for path in files.client(name)[:1] if is_there(path)]
    found = [load_certificate(path) for path in (*own, *files.issued.glob("*.pem"))]
    return {certificate.serial_number for certificate in found if name_in(certificate) == name}


def _entry(serial: int) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(right_now()).build()


def _write(files: CertificateFiles, number: int, entries: list[x509.RevokedCertificate]) -> None:
    if len(entries) > MAX_REVOKED:
        hint = "move the directory away and issue every certificate anew"
        raise LinesideError(OPERATION, f"a list holds {MAX_REVOKED} at most", hint)
    authority, key = load_authority(files)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(BEGIN + datetime.timedelta(seconds=number))
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(key, hashes.SHA256())
    write_private(files.revoked, signed.public_bytes(serialization.Encoding.PEM))
