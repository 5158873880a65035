"""The managed broker's listener for the network: address, certificates, access. Knows no processes.

What reads revocation lists is imported where there is such a listener: it takes 10 MB.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from lineside.config import Config
from lineside.errors import LinesideError
from lineside.gateways.mapping import load_mappings
from lineside.security.files import CertificateFiles, read_pem
from lineside.security.pair import check_life, check_pair
from lineside.transport.mqtt.folder import write_folder
from lineside.transport.mqtt.topics import DIAGNOSIS, FAULT, FEEDBACK, HEALTH, POWER, RECEIPT, ROOT, STATUS

OPERATION = "open the broker to the network"
FOLDER = "lan"
CRL = "crl.pem"
SIOCGIFADDR = 0x8915
# The name in a certificate is a device's id: %u. What nothing here allows is refused.
ACCESS = f"""\
# Written by lineside at each start: changes are lost.
pattern write {FAULT}/%u
pattern write {FEEDBACK}/%u
pattern read {DIAGNOSIS}/%u
pattern read {DIAGNOSIS}/%u/+
pattern read {ROOT}/brief/%u
pattern read {ROOT}/text/%u
pattern read {RECEIPT}/%u
"""
GATEWAY_ACCESS = """
user {name}
topic write {topic}
"""
OPERATOR_ACCESS = f"""
user {{name}}
topic write {POWER}/set/#
topic read {POWER}/#
topic read {RECEIPT}/power/#
topic read {HEALTH}/#
topic read {STATUS}/#
"""


@dataclass(frozen=True, slots=True)
class Lan:
    """What the configuration says of it. `gateways`: names, each with a filter that it may publish on."""

    interface: str
    port: int
    files: CertificateFiles
    operators: tuple[str, ...] = ()
    gateways: tuple[tuple[str, str], ...] = ()


def lan_of(config: Config, certs: Path) -> Lan | None:
    """The listener that is configured; None: loopback alone. Raises LinesideError for a bad mapping."""
    mqtt = config.mqtt
    if not mqtt.interface:
        return None
    gateways = tuple(
        (name, mapping.topic) for mapping in load_mappings(mqtt.mappings) for name in mapping.gateways
    )
    files = CertificateFiles(certs)
    return Lan(mqtt.interface, mqtt.interface_port, files, config.security.operators, gateways)


def what_it_reads(lan: Lan) -> dict[str, bytes]:
    """The listener's files, by name. Raises LinesideError for what it could not start with."""
    from lineside.security.revoked import MAX_LIST_BYTES, read_revoked  # noqa: PLC0415

    files = lan.files
    check_pair(files.server, files.server_key, files.ca)
    check_life(files.server)
    read = {path.name: read_pem(path) for path in (files.ca, files.server, files.server_key)}
    read_revoked(files)
    read[CRL] = read_pem(files.revoked, MAX_LIST_BYTES)
    return read | {"acl": access_list(lan.operators, lan.gateways).encode()}


def has_changed(lan: Lan, directory: Path) -> bool:
    """Whether the listener would read something else now. Raises LinesideError as `what_it_reads`.

    And for a list that is older than the one it has read: what was revoked stays so while it runs.
    """
    from lineside.security.revoked import list_in, load_list, number_of  # noqa: PLC0415

    folder, read = directory / FOLDER, what_it_reads(lan)
    if number_of(load_list(lan.files)) < number_of(list_in(folder / CRL)):
        hint = "copy the newest one from where the authority is kept"
        raise LinesideError(OPERATION, f"{lan.files.revoked} is older than the list in force", hint)
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    return read != there


def prepare(lan: Lan, directory: Path, group: int | None) -> str:
    """Write what the listener reads, for `group` where that is another's. Returns the address."""
    address = address_of(lan.interface)
    check_free(address, lan.port)
    write_folder(directory / FOLDER, what_it_reads(lan), group)
    return address


def access_list(operators: tuple[str, ...], gateways: tuple[tuple[str, str], ...] = ()) -> str:
    """Who may what, in Mosquitto's words."""
    for name in operators:
        if not name.isprintable() or name.strip() != name:
            hint = "write the name as it is in the certificate"
            raise LinesideError(OPERATION, f"[security] operators: {name!r} is no name", hint)
    rules = [GATEWAY_ACCESS.format(name=name, topic=topic) for name, topic in gateways]
    return "".join((ACCESS, *rules, *(OPERATOR_ACCESS.format(name=name) for name in operators)))


def address_of(interface: str) -> str:
    """`interface` itself where it is an address, else the first IPv4 address that it has."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(interface))
    try:
        socket.if_nametoindex(interface)
        # Not by netlink, which a service's sandbox may forbid.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            found = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", interface.encode()))
    except (OSError, ValueError) as error:
        if getattr(error, "errno", 0) == errno.EADDRNOTAVAIL:
            message = f"[mqtt] interface: {interface} has no IPv4 address yet"
            hint = "give it a fixed one, or start after network-online.target"
        else:
            message = f"[mqtt] interface: there is no {interface!r}"
            hint = "name an interface, ip -br address lists them, or an address of this machine"
        raise LinesideError(OPERATION, message, hint) from error
    return socket.inet_ntoa(found[20:24])


def check_free(address: str, port: int) -> None:
    """Raises LinesideError where nobody can listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                message, hint = (
                    f"[mqtt] interface: this machine has no address {address}",
                    "ip -br address lists them",
                )
            else:
                message = f"[mqtt] interface_port: {port} of {address}: {error.strerror}"
                hint = "stop what listens there, or set another"
            raise LinesideError(OPERATION, message, hint) from error
