"""An authority of the plant's own, without network: makes certificates. Knows nothing of who uses them.

Certificates begin in 2020: a board without a clock's battery starts with an old date, and has to be believed.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside.errors import LinesideError
from lineside.security.files import CertificateFiles, read_pem, write_private

OPERATION = "make certificates"
SERVER_NAME = "lineside"
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
# Before this was written nobody can have made a certificate: the clock is wrong.
CLOCK_MIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
CA_LIFE = datetime.timedelta(days=7300)
# A plant that is looked after once a year renews in time.
LIFE = datetime.timedelta(days=800)
MAX_NAME_CHARACTERS = 64
MAX_NAMES = 64
OWN_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate as a list shows it."""

    name: str
    file: Path
    expires: datetime.datetime
    days_left: int


def create_authority(files: CertificateFiles) -> None:
    """The authority itself. Raises LinesideError where there is one: what that signed is in use."""
    for path in (files.ca, files.ca_key):
        if path.exists():
            hint = "keep it; or move the directory away and issue every certificate anew"
            raise LinesideError(OPERATION, f"there is an authority already: {path}", hint)
    key = ec.generate_private_key(ec.SECP256R1())
    name = common_name("Lineside authority")
    certificate = (
        builder(name, name, key.public_key(), CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(files.ca_key, pem_of_key(key))
    write_private(files.ca, pem_of(certificate))


def issue_server(files: CertificateFiles, names: Sequence[str], *, replace: bool = False) -> None:
    """The daemon's and its broker's certificate, for `names` and addresses, and this machine's own."""
    if not 0 < len(names) <= MAX_NAMES:
        hint = "name the host names and addresses that clients connect to, such as 192.168.10.5"
        raise LinesideError(OPERATION, f"between 1 and {MAX_NAMES} names are needed", hint)
    alternatives = [alternative(name) for name in dict.fromkeys((*names, *OWN_NAMES))]
    # It also proves the daemon itself to the broker, and the command line on this machine to the daemon.
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    paths = (files.server, files.server_key)
    _issue(
        files,
        paths,
        SERVER_NAME,
        (x509.SubjectAlternativeName(alternatives), x509.ExtendedKeyUsage(usages)),
        replace,
    )


def issue_client(files: CertificateFiles, name: str, *, replace: bool = False) -> tuple[Path, Path]:
    """A client's or a device's. A device's name is its id, as in its topic. Returns certificate and key."""
    check_client_name(name)
    check_apart(name, files.client_names())
    paths = files.client(name)
    _issue(files, paths, name, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),), replace)
    return paths


def renew(files: CertificateFiles, name: str) -> Path:
    """The same certificate with the same key for another life."""
    path, key_path = (files.server, files.server_key) if name == SERVER_NAME else files.client(name)
    old = load_certificate(path)
    extensions: list[x509.ExtensionType] = [
        old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    ]
    if name == SERVER_NAME:
        extensions.insert(0, old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    write_private(path, _sign(files, load_key(key_path).public_key(), name, extensions))
    return path


def certificates(files: CertificateFiles) -> list[Listed]:
    """All of them, the next to expire first."""
    found = [path for path in (files.ca, files.server, *sorted(files.clients.glob("*.pem"))) if path.exists()]
    return sorted((listed(path) for path in found), key=lambda entry: entry.expires)


def listed(path: Path) -> Listed:
    """What a list shows of it."""
    certificate = load_certificate(path)
    expires = certificate.not_valid_after_utc
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Listed(str(names[0].value) if names else "", path, expires, (expires - now()).days)


def load_certificate(path: Path) -> x509.Certificate:
    """The first one in a file."""
    try:
        return x509.load_pem_x509_certificate(read_pem(path))
    except ValueError as error:
        raise LinesideError(
            "read certificates", f"{path} holds no certificate", "put one in PEM there"
        ) from error


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A key of ours."""
    try:
        key = serialization.load_pem_private_key(read_pem(path), None)
    except (ValueError, TypeError) as error:
        hint = "a key in PEM without a passphrase is needed"
        raise LinesideError("read certificates", f"{path} holds no usable key", hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise LinesideError("read certificates", f"{path} is no key of ours", "make it with lineside certs")
    return key


def check_client_name(name: str) -> None:
    """Raises LinesideError for a name that no certificate or topic can hold."""
    bad = not name.isprintable() or any(sign in name for sign in "+#%") or name.strip() != name
    if bad or not 0 < len(name) <= MAX_NAME_CHARACTERS or name == SERVER_NAME:
        hint = (
            f"at most {MAX_NAME_CHARACTERS} printable characters without +, # and %, other than {SERVER_NAME}"
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


def _issue(
    files: CertificateFiles,
    paths: tuple[Path, Path],
    name: str,
    extensions: Sequence[x509.ExtensionType],
    replace: bool,
) -> None:
    for path in paths:
        if path.exists() and not replace:
            hint = "lineside certs renew keeps the key; --replace makes both anew"
            raise LinesideError(OPERATION, f"{path} is there already", hint)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _sign(files, key.public_key(), name, extensions)
    write_private(paths[1], pem_of_key(key))
    write_private(paths[0], signed)


def _sign(
    files: CertificateFiles,
    key: ec.EllipticCurvePublicKey,
    name: str,
    extensions: Sequence[x509.ExtensionType],
) -> bytes:
    authority, authority_key = load_certificate(files.ca), load_key(files.ca_key)
    certificate = builder(common_name(name), authority.subject, key, LIFE).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    for extension in (key_usage(signs=False), own, *extensions):
        certificate = certificate.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
    return pem_of(certificate.sign(authority_key, hashes.SHA256()))


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    """What every certificate has."""
    begin = now()
    if begin < CLOCK_MIN:
        hint = "set this machine's clock: certificates would end too early"
        raise LinesideError(OPERATION, f"the clock says {begin:%Y-%m-%d}", hint)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(begin + life)
    )


def common_name(name: str) -> x509.Name:
    """A subject of a name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name: str) -> x509.GeneralName:
    """An address, or a host's name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        hint = "name a host name in ASCII or an address"
        raise LinesideError(OPERATION, f"{name!r} is neither", hint) from error


def key_usage(*, signs: bool) -> x509.KeyUsage:
    """An authority signs certificates and lists, others handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def pem_of(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM without a passphrase: nobody is there to type it when a board starts."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def now() -> datetime.datetime:
    """The clock."""
    return datetime.datetime.now(datetime.timezone.utc)
