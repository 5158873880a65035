"""The broker's listener on loopback where operators set power over MQTT: who is the daemon, what others may.

Every user of the machine may come there without a name. So the daemon shows a password, and the power topics
are its alone there: operators come over the network, with a certificate.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from lineside.errors import LinesideError
from lineside.transport.mqtt.folder import write_folder
from lineside.transport.mqtt.topics import POWER, RECEIPT

FOLDER = "local"
# Of mosquitto_passwd's kind: 7 is PBKDF2 with SHA-512. Each connection waits for that many rounds.
ROUNDS = 1000
SALT_BYTES = 12
LINES = """\
acl_file local/acl
password_file local/users
"""
ACCESS = f"""\
# Written by lineside at each start: changes are lost.
topic deny {POWER}/#
topic deny {RECEIPT}/power/#
topic readwrite #
topic read $SYS/#

user {{user}}
topic readwrite #
"""


@dataclass(frozen=True, slots=True)
class Login:
    """How the daemon proves itself."""

    user: str
    password: str


def new_login() -> Login:
    """For a broker of the daemon's own, which nobody else has to know."""
    return Login("lineside", secrets.token_urlsafe(24))


def prepare_local(login: Login, directory: Path, group: int | None) -> str:
    """Write what the listener reads; returns its lines of the broker's configuration."""
    user = login.user
    if not user.isprintable() or user.strip() != user or ":" in user or user.startswith("#"):
        hint = "printable characters without : are needed"
        raise LinesideError("start the broker", f"[mqtt] user: {user!r} cannot stand in a list", hint)
    if not login.password:
        hint = "put one into its first line; for a broker of its own: lineside broker --password-file"
        raise LinesideError("start the broker", "[mqtt] password_file: no password in it", hint)
    contents = {"acl": ACCESS.format(user=user), "users": f"{user}:{hashed(login.password)}\n"}
    write_folder(directory / FOLDER, {name: text.encode() for name, text in contents.items()}, group)
    return LINES


def hashed(password: str) -> str:
    """As Mosquitto keeps it."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    texts = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"$7${ROUNDS}${texts[0]}${texts[1]}"
