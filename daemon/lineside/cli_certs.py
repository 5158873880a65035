"""`lineside certs`: certificates for the plant's own network. Knows not how they are made."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lineside.config import load_config


def add_certs(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    certs = commands.add_parser("certs", parents=[common], help="certificates for access over the LAN")
    actions = certs.add_subparsers(required=True, metavar="ACTION")
    init = actions.add_parser("init", parents=[common], help="make the authority that signs all others")
    init.add_argument(
        "--list",
        action="store_true",
        help="make only its revocation list anew, an empty one, where it is lost",
    )
    init.set_defaults(run=_init)
    server = actions.add_parser("server", parents=[common], help="make the daemon's certificate")
    server.add_argument("names", nargs="+", metavar="NAME", help="host names and addresses of the daemon")
    server.add_argument("--replace", action="store_true", help="make key and certificate anew")
    server.set_defaults(run=_server)
    client = actions.add_parser("client", parents=[common], help="make a device's or a person's certificate")
    client.add_argument("name", metavar="NAME", help="a device's id, or a person's name")
    client.add_argument("--replace", action="store_true", help="make key and certificate anew")
    client.set_defaults(run=_client)
    listing = actions.add_parser("list", parents=[common], help="all certificates and the days left")
    listing.set_defaults(run=_list)
    revoking = actions.add_parser(
        "revoke", parents=[common], help="take back every certificate of a client, for good"
    )
    revoking.add_argument("name", metavar="NAME", help="a client's name")
    revoking.set_defaults(run=_revoke)
    renewing = actions.add_parser("renew", parents=[common], help="another life for a certificate, same key")
    renewing.add_argument("name", metavar="NAME", help="a client's name, or lineside for the daemon's")
    renewing.set_defaults(run=_renew)


def _files(arguments: argparse.Namespace) -> Any:
    from lineside.security.files import CertificateFiles  # noqa: PLC0415

    return CertificateFiles(load_config(arguments.config).certs_path)


def _init(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import create_authority  # noqa: PLC0415
    from lineside.security.revocation import create_list  # noqa: PLC0415

    files = _files(arguments)
    if arguments.list:
        create_list(files)
        print(f"{files.revoked}: nobody is revoked in it; revoke again whom you had revoked")
        return
    create_authority(files)
    create_list(files)
    print(f"{files.ca}: give it to every client\n{files.ca_key}: keep a copy offline, and give it to nobody")


def _server(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import issue_server  # noqa: PLC0415

    files = _files(arguments)
    issue_server(files, arguments.names, replace=arguments.replace)
    print(f"{files.server}\n{files.server_key}")


def _client(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import issue_client  # noqa: PLC0415

    files = _files(arguments)
    certificate, key = issue_client(files, arguments.name, replace=arguments.replace)
    print(f"{certificate}\n{key}\n{files.ca}\ngive these three to {arguments.name}, and to nobody else")


def _list(arguments: argparse.Namespace) -> int:
    from lineside.security.listing import certificates  # noqa: PLC0415

    entries = certificates(_files(arguments))
    for entry in entries:
        if entry.wrong:
            print(f"lineside: {entry.wrong}", file=sys.stderr)
        else:
            left = "    revoked" if entry.revoked else f"{entry.days_left:6d} days"
            print(f"{left}  {entry.expires:%Y-%m-%d}  {entry.name}  {entry.file}")
    return int(any(entry.wrong for entry in entries))


def _revoke(arguments: argparse.Namespace) -> None:
    from lineside.security.revocation import revoke  # noqa: PLC0415

    files = _files(arguments)
    count = revoke(files, arguments.name)
    print(f"{arguments.name}: {count} revoked in {files.revoked}")
    print("a daemon elsewhere needs a copy of that file beside its ca.pem; gRPC refuses from then on")
    print(
        "a broker is told by: systemctl restart lineside-broker, or where the daemon runs its own: reload it"
    )


def _renew(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import renew  # noqa: PLC0415

    print(renew(_files(arguments), arguments.name))
