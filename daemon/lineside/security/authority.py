"""An authority of the plant's own, without network: makes certificates. Knows nothing of who uses them.

Certificates begin in 2020: a board without a clock's battery starts with an old date, and has to be believed.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside.errors import LinesideError
from lineside.security.files import CertificateFiles, is_there, read_pem, write_private
from lineside.security.names import SERVER_NAME, check_apart, check_client_name

OPERATION = "make certificates"
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
# Before this was written nobody can have made a certificate: the clock is wrong.
CLOCK_MIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
CA_LIFE = datetime.timedelta(days=7300)
# A plant that is looked after once a year renews in time.
LIFE = datetime.timedelta(days=800)
MAX_NAMES = 64
MAX_HOST_CHARACTERS = 253
HOST = re.compile(r"(\*\.)?[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*\.?")
OWN_NAMES = ("localhost", "127.0.0.1", "::1")


def create_authority(files: CertificateFiles) -> None:
    """The authority itself. Raises LinesideError where there is one: what that signed is in use."""
    for path in (files.ca, files.ca_key):
        if is_there(path):
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
    if not is_there(path):
        hint = "lineside certs list shows the names; lineside certs client makes one"
        raise LinesideError(OPERATION, f"there is no certificate for {name!r}: {path}", hint)
    old = load_certificate(path)
    kinds = (x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
    try:
        extensions = [
            old.extensions.get_extension_for_class(kind).value for kind in kinds[: 1 + (name == SERVER_NAME)]
        ]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        hint = "make it anew: lineside certs server NAME..., or client NAME, with --replace"
        raise LinesideError(OPERATION, f"{path} is no certificate of ours: {error}", hint) from error
    write_private(path, _sign(files, load_key(key_path).public_key(), name, extensions))
    return path


def name_in(certificate: x509.Certificate) -> str:
    """Whose it is; empty where it does not say."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def load_certificate(path: Path) -> x509.Certificate:
    """The first one in a file."""
    raw = read_pem(path)
    try:
        found = x509.load_pem_x509_certificate(raw)
        # Taken apart where it is asked for, and not before.
        _ = found.subject, found.not_valid_after_utc
    except ValueError as error:
        raise LinesideError(
            "read certificates", f"{path} holds no certificate", "put one in PEM there"
        ) from error
    return found


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A key of ours."""
    try:
        key = serialization.load_pem_private_key(read_pem(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "a key in PEM without a passphrase is needed"
        raise LinesideError("read certificates", f"{path} holds no usable key", hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise LinesideError("read certificates", f"{path} is no key of ours", "make it with lineside certs")
    return key


def _issue(
    files: CertificateFiles,
    paths: tuple[Path, Path],
    name: str,
    extensions: Sequence[x509.ExtensionType],
    replace: bool,
) -> None:
    for path in paths:
        if is_there(path) and not replace:
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
    authority, authority_key = load_authority(files)
    certificate = builder(common_name(name), authority.subject, key, LIFE).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    for extension in (key_usage(signs=False), own, *extensions):
        certificate = certificate.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
    signed = certificate.sign(authority_key, hashes.SHA256())
    # Kept before it is used: whose key is lost can only be revoked by the number of each certificate.
    write_private(files.issued / f"{signed.serial_number:x}.pem", pem_of(signed))
    return pem_of(signed)


def load_authority(files: CertificateFiles) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key. Raises LinesideError where they do not belong together."""
    authority, key = load_certificate(files.ca), load_key(files.ca_key)
    if authority.public_key() != key.public_key():
        hint = "put back the pair that belongs together: what this key signs, nobody would believe"
        raise LinesideError(OPERATION, f"{files.ca_key} is not the key of {files.ca}", hint)
    return authority, key


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    """What every certificate has."""
    begin = right_now()
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
    if len(name) > MAX_HOST_CHARACTERS or not HOST.fullmatch(name):
        hint = "name a host name in ASCII or an address, without a port"
        raise LinesideError(OPERATION, f"{name!r} is neither a host's name nor an address", hint)
    return x509.DNSName(name)


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


def right_now() -> datetime.datetime:
    """The clock, where it is right. Raises LinesideError."""
    read = now()
    if read < CLOCK_MIN:
        hint = "set this machine's clock: certificates would end too early"
        raise LinesideError(OPERATION, f"the clock says {read:%Y-%m-%d}", hint)
    return read


def now() -> datetime.datetime:
    """The clock."""
    return datetime.datetime.now(datetime.timezone.utc)
