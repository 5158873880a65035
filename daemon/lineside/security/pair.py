"""Whether a certificate and its key can be used. Knows nothing of who uses them."""

from __future__ import annotations

import ssl
from pathlib import Path

from lineside.errors import LinesideError
from lineside.security.files import read_pem

OPERATION = "start with TLS"


def check_pair(certificate: Path, key: Path, ca: Path) -> None:
    """Raises LinesideError for a certificate and a key that do not belong together, or cannot be read."""
    for path in (certificate, key, ca):
        read_pem(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        hint = "lineside certs server NAME... --replace makes both anew"
        message = f"{key} is not the key of {certificate}: {error}"
        raise LinesideError(OPERATION, message, hint) from error
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise LinesideError(
            OPERATION, f"{ca} holds no certificate: {error}", "put the authority's there"
        ) from error


def check_life(certificate: Path) -> None:
    """Raises LinesideError for one that has expired: every client would refuse it."""
    # Where there is no TLS nobody asks, and cryptography would take 10 MB.
    from lineside.security.listing import listed  # noqa: PLC0415

    entry = listed(certificate)
    if entry.days_left < 0:
        hint = "is the clock right? else: lineside certs renew lineside"
        raise LinesideError(OPERATION, f"{certificate} has expired on {entry.expires:%Y-%m-%d}", hint)
