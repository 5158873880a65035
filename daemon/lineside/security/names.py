"""Names that a certificate and a topic can both hold. Knows no certificate."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.errors import LinesideError

OPERATION = "make certificates"
SERVER_NAME = "lineside"
# What X.509 lets a name have. Percent-encoded it still fits a file's name.
MAX_NAME_BYTES = 64


def check_client_name(name: str) -> None:
    """Raises LinesideError for a name that no certificate or topic can hold."""
    bad = not name.isprintable() or any(sign in name for sign in "+#%") or name.strip() != name
    if bad or not 0 < len(name.encode()) <= MAX_NAME_BYTES or name == SERVER_NAME:
        hint = (
            f"at most {MAX_NAME_BYTES} bytes of UTF-8 (21 Chinese characters), printable, "
            f"without +, # and %, other than {SERVER_NAME}"
        )
        raise LinesideError(OPERATION, f"{name!r} is no name for a client", hint)


def check_apart(name: str, others: Sequence[str]) -> None:
    """Raises LinesideError for a device one level above or below another's.

    The answers to a device's alarms stand one level below its own: it would read the other's.
    """
    for other in others:
        if name in (other.rpartition("/")[0], f"{other}/{name.rpartition('/')[2]}"):
            message = f"{name!r} and {other!r}: the upper one would read the lower one's answers"
            raise LinesideError(OPERATION, message, "give one of them another name, such as L1-gateway")
