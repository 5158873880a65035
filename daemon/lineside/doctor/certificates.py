"""The certificates and keys that the configuration names: whole, belonging together, and how long they last.

Shows no key, and knows no TLS: whether the broker takes them is asked of the broker.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning

from lineside.config import Config
from lineside.doctor.finding import Finding, State, finding
from lineside.doctor.machine import Machine, read_bytes
from lineside.security.files import CertificateFiles

# Old authorities in the system's list are no business of whoever reads findings.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, module=__name__)

# The system's list of authorities has some 220 KB.
MAX_PEM_BYTES = 1 << 20
MAX_CHAIN = 8
SOON_DAYS = 30
DAY = datetime.timedelta(days=1)
RENEW = "lineside certs renew lineside; where that does not do: lineside certs server NAME... --replace"
PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
# What reading and verifying says of odd certificates.
UNFIT = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


class UnusableError(Exception):
    """What is wrong with a file, and the state that this is."""

    def __init__(self, seen: str, todo: str, state: State = "problem") -> None:
        super().__init__(seen)
        self.seen, self.todo, self.state = seen, todo, state


@dataclass(frozen=True, slots=True)
class Identity:
    """What one side of TLS shows, and whom it believes. A path is None where nothing is named.

    `renew`: how another certificate is come by. `one_authority`: the other side believes in `ca`, too.
    """

    name: str
    certificate: Path | None
    key: Path | None
    ca: Path | None
    renew: str
    one_authority: bool


def identities(config: Config) -> Iterator[Identity]:
    """All that the configuration names."""
    mqtt = config.mqtt
    if mqtt.broker != "off":
        certificate, key, ca = (
            Path(path) if path else None
            for path in (mqtt.cert_file, mqtt.key_file or mqtt.cert_file, mqtt.ca_file)
        )
        renew = "have whoever looks after the broker issue another"
        yield Identity("mqtt", certificate, key, ca, renew, one_authority=False)
    files = CertificateFiles(config.certs_path)
    for name, is_open in (
        ("grpc", config.grpc.enabled and config.grpc.tls),
        ("broker", mqtt.broker != "off" and bool(mqtt.interface)),
    ):
        if is_open:
            yield Identity(name, files.server, files.server_key, files.ca, RENEW, one_authority=True)


def look(machine: Machine) -> Iterator[Finding]:
    """Each file, whether they belong together, and the days until the first of them ends."""
    days: list[int] = []
    for identity in identities(machine.config):
        for found in look_at(identity, machine.now_s):
            days += [int(value) for name, value in found.values.items() if name.endswith("_days_left")]
            yield found
    if not days:
        yield finding("certificates.next", "not_applicable", "the configuration names none that can be read")
        return
    yield finding("certificates.next", "ok", f"{min(days)} days left", certificate_days_left=min(days))


def look_at(identity: Identity, now_s: float) -> Iterator[Finding]:
    """Its files: each by itself, then against each other."""
    authorities, name = [], f"certificates.{identity.name}"
    if identity.ca is not None:
        try:
            authorities = _certificates(identity.ca)
            # Of several authorities an old one may end while the new one is believed already.
            yield _life(identity, "ca", identity.ca, max(authorities, key=_end), now_s)
        except UnusableError as error:
            yield finding(f"{name}_ca", error.state, error.seen, error.todo)
    if identity.certificate is None:
        return
    try:
        chain = _certificates(identity.certificate)
        yield _life(identity, "certificate", identity.certificate, min(chain, key=_end), now_s)
    except UnusableError as error:
        yield finding(f"{name}_certificate", error.state, error.seen, error.todo)
        return
    assert identity.key is not None
    yield _key(identity, identity.key, chain[0])
    if authorities:
        yield _chain(identity, chain, authorities)


def _certificates(path: Path) -> list[x509.Certificate]:
    """Those in a file, at least one. Raises UnusableError."""
    raw = _read(path)
    try:
        found = x509.load_pem_x509_certificates(raw)
        for certificate in found:  # taken apart where it is asked for, and not before
            _end(certificate), certificate.not_valid_before_utc
    except ValueError:
        todo = "put one in PEM there; one in DER: openssl x509 -inform der -in OLD -out NEW"
        raise UnusableError(f"{path} holds no certificate that can be read", todo) from None
    return found


def _read(path: Path) -> bytes:
    try:
        raw = read_bytes(path, MAX_PEM_BYTES + 1)
    except PermissionError:
        raise UnusableError(f"{path} may not be seen", "run it as root to see this", "unknown") from None
    except OSError as error:
        raise UnusableError(f"{path}: {error.strerror}", "name a file that the daemon can read") from None
    if raw is None:
        raise UnusableError(f"{path} is not there", "put it there, or correct the configuration")
    if len(raw) > MAX_PEM_BYTES:
        raise UnusableError(f"{path} is too large for certificates", "name a file of certificates in PEM")
    return raw


def _life(identity: Identity, kind: str, path: Path, certificate: x509.Certificate, now_s: float) -> Finding:
    """`certificate` is the one that decides until when the file is good."""
    name, end = f"certificates.{identity.name}_{kind}", _end(certificate)
    now = datetime.datetime.fromtimestamp(now_s, datetime.timezone.utc)
    days = (end - now) // DAY
    values: dict[str, Any] = {f"{identity.name}_{kind}_days_left": days}
    if now < certificate.not_valid_before_utc:
        seen = f"{path} begins on {certificate.not_valid_before_utc:%Y-%m-%d}"
        return finding(name, "problem", seen, "set this machine's clock, if it is behind")
    if days < 0:
        seen, todo = f"{path} has ended on {end:%Y-%m-%d}", f"is the clock right? else: {identity.renew}"
        return finding(name, "problem", seen, todo, **values)
    seen = f"{path}: {days} days left, until {end:%Y-%m-%d}"
    if days < SOON_DAYS:
        return finding(name, "warning", seen, identity.renew, **values)
    return finding(name, "ok", seen, **values)


def _key(identity: Identity, path: Path, certificate: x509.Certificate) -> Finding:
    name = f"certificates.{identity.name}_key"
    try:
        raw = _read(path)
    except UnusableError as error:
        return finding(name, error.state, error.seen, error.todo)
    try:
        key = serialization.load_pem_private_key(raw, None).public_key().public_bytes(*PUBLIC)
        belongs = key == certificate.public_key().public_bytes(*PUBLIC)
    except TypeError:
        todo = "nobody is there to type it when the daemon starts: openssl pkey -in OLD -out NEW removes it"
        return finding(name, "problem", f"{path} has a passphrase", todo)
    except (ValueError, UnsupportedAlgorithm):
        seen = f"{path} or {identity.certificate} holds no key that can be read"
        return finding(name, "problem", seen, "put it there in PEM, of a common kind")
    if not belongs:
        todo = f"copy both from where they were made, or {identity.renew}"
        return finding(name, "problem", f"{path} is not the key of {identity.certificate}", todo)
    return finding(name, "ok", f"{path} is the key of {identity.certificate}")


def _chain(
    identity: Identity, chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> Finding:
    """From the certificate over those behind it in its file to an authority."""
    name, last = f"certificates.{identity.name}_chain", chain[0]
    for _ in range(MAX_CHAIN):
        if any(last == authority or _issued(last, authority) for authority in authorities):
            seen = f"{identity.certificate} is of the authority in {identity.ca}"
            return finding(name, "ok", seen)
        above = next((other for other in chain[1:] if other != last and _issued(last, other)), None)
        if above is None:
            break
        last = above
    seen = f"{identity.certificate} is not of an authority in {identity.ca}"
    if identity.one_authority:
        return finding(name, "problem", seen, identity.renew)
    return finding(name, "note", seen, "right only where the other side believes in another authority")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        if not authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(authority)
    except UNFIT:
        return False
    return True


def _end(certificate: x509.Certificate) -> datetime.datetime:
    return certificate.not_valid_after_utc
