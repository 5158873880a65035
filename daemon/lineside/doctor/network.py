"""What the network's side needs beside its certificates: the revocation list, readable files, the unit.

Asks no broker and opens no port. Looks only where gRPC or the broker is open to the network.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.doctor.users import DAEMON, UNIT_PLACES, user_ids
from lineside.errors import LinesideError
from lineside.security.files import CertificateFiles
from lineside.security.revoked import load_list, read_revoked

LIST, READABLE, UNIT = "certificates.revoked", "certificates.readable", "broker.unit"
BROKER_UNIT = "lineside-broker.service"
LOADED = "LoadCredential"
RUN_AS = "run it as root to see this"
SOON_DAYS = 30
DAY = datetime.timedelta(days=1)


def look(machine: Machine) -> Iterator[Finding]:
    """The list, who may read the files, and what the broker's unit names."""
    config = machine.config
    by_broker = bool(config.mqtt.interface) and config.mqtt.broker != "off"
    by_grpc = config.grpc.enabled and config.grpc.tls
    if not (by_broker or by_grpc):
        yield finding(LIST, "not_applicable", "nothing is open to the network")
        return
    files = CertificateFiles(config.certs_path)
    yield _list(files, machine.now_s)
    if by_grpc or config.mqtt.broker == "managed":
        yield from _readable(machine, files)
    if by_broker and config.mqtt.broker == "external":
        yield from _unit(machine, files)


def _list(files: CertificateFiles, now_s: float) -> Finding:
    """Whether it is this authority's and in force: a broker with one that is not refuses every client."""
    try:
        revoked = read_revoked(files)
        written = load_list(files)
    except LinesideError as error:
        if isinstance(error.__cause__, PermissionError):
            return finding(LIST, "unknown", error.message, RUN_AS)
        return finding(LIST, "problem", error.message, error.hint)
    return _life(files.revoked, written, len(revoked.serials), now_s)


def _life(path: Path, written: x509.CertificateRevocationList, revoked: int, now_s: float) -> Finding:
    now, end = datetime.datetime.fromtimestamp(now_s, datetime.timezone.utc), written.next_update_utc
    if now < written.last_update_utc:
        seen = f"{path} begins on {written.last_update_utc:%Y-%m-%d}: the broker refuses every client"
        return finding(LIST, "problem", seen, "set this machine's clock, if it is behind")
    if end is None:
        return finding(LIST, "ok", f"{path}: {revoked} revoked, without an end")
    days = (end - now) // DAY
    renew = "put a newer one there: lineside certs revoke writes one, for as long as the authority lasts"
    if days < 0:
        seen = f"{path} has ended on {end:%Y-%m-%d}: the broker refuses every client"
        return finding(LIST, "problem", seen, f"is the clock right? else: {renew}", revoked_days_left=days)
    seen = f"{path}: {revoked} revoked, {days} days left, until {end:%Y-%m-%d}"
    if days < SOON_DAYS:
        return finding(LIST, "warning", seen, renew, revoked_days_left=days)
    return finding(LIST, "ok", seen, revoked_days_left=days)


def _readable(machine: Machine, files: CertificateFiles) -> Iterator[Finding]:
    """What root has made is root's alone; daemon and managed broker read them as the daemon's user."""
    uid = user_ids(machine).get(DAEMON)
    if uid is None:
        return
    try:
        closed = [path for path in _read_by_daemon(files) if _closed(path, uid)]
    except PermissionError as error:
        yield finding(READABLE, "unknown", f"{error.filename} may not be seen", RUN_AS)
        return
    if closed:
        names = ", ".join(path.name for path in closed)
        todo = f"chown -R {DAEMON}:{DAEMON} {files.directory}"
        yield finding(READABLE, "problem", f"user {DAEMON} may not read {names} in {files.directory}", todo)
        return
    yield finding(READABLE, "ok", f"user {DAEMON} may read what is in {files.directory}")


def _read_by_daemon(files: CertificateFiles) -> list[Path]:
    """The directory and its files, as far as they are there."""
    named = (files.directory, files.ca, files.server, files.server_key, files.revoked)
    return [path for path in named if _is_there(path)]


def _closed(path: Path, uid: int) -> bool:
    found = path.stat()
    bits = found.st_mode >> 6 if found.st_uid == uid else found.st_mode
    wanted = 0o5 if path.is_dir() else 0o4
    # Whoever gives it to a group of the daemon's knows what he does.
    by_group = found.st_uid != uid and found.st_gid != 0 and (found.st_mode >> 3) & wanted == wanted
    return bits & wanted != wanted and not by_group


def _unit(machine: Machine, files: CertificateFiles) -> Iterator[Finding]:
    """A broker of its own starts only with all that its drop-in names; without one it keeps to loopback."""
    if not any((machine.root / place / BROKER_UNIT).exists() for place in UNIT_PLACES):
        return
    dropins = [path for place in UNIT_PLACES for path in machine.glob(f"{place}/{BROKER_UNIT}.d/*.conf")]
    named = list(_credentials(machine, dropins))
    if not named:
        seen = f"[mqtt] interface is set, and no drop-in of {BROKER_UNIT} lets it there"
        todo = f"put lan.conf into /etc/systemd/system/{BROKER_UNIT}.d: docs/security.md"
        yield finding(UNIT, "problem", seen, todo)
        return
    try:
        missing = [path for path in named if not _is_there(path)]
    except PermissionError as error:
        yield finding(UNIT, "unknown", f"{error.filename} may not be seen", RUN_AS)
        return
    if missing:
        seen = f"{BROKER_UNIT} cannot start: its drop-in names {', '.join(map(str, missing))}, not there"
        todo = f"put it there, or name another in the drop-in; the certificates are in {files.directory}"
        yield finding(UNIT, "problem", seen, todo)
        return
    yield finding(UNIT, "ok", f"{BROKER_UNIT} finds the {len(named)} files that its drop-in names")


def _credentials(machine: Machine, dropins: list[Path]) -> Iterator[Path]:
    """The files without which the unit does not start: those that nothing stands in for."""
    texts = [machine.read(str(path.relative_to(machine.root))) or "" for path in dropins]
    pairs = [line.partition("=")[::2] for text in texts for line in text.splitlines()]
    instead = {value.partition(":")[0] for key, value in pairs if key.strip() == "SetCredential"}
    for key, value in pairs:
        name, _, path = value.strip().partition(":")
        if key.strip() == LOADED and path.startswith("/") and name not in instead:
            yield Path(path)


def _is_there(path: Path) -> bool:
    """Raises PermissionError where this user may not look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
