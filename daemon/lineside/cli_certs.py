"""`lineside certs`: certificates for the plant's own network. Knows not how they are made."""

from __future__ import annotations

import argparse
from typing import Any

from lineside.config import load_config


def add_certs(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    certs = commands.add_parser("certs", parents=[common], help="certificates for access over the LAN")
    actions = certs.add_subparsers(required=True, metavar="ACTION")
    init = actions.add_parser("init", parents=[common], help="make the authority that signs all others")
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
    renewing = actions.add_parser("renew", parents=[common], help="another life for a certificate, same key")
    renewing.add_argument("name", metavar="NAME", help="a client's name, or lineside for the daemon's")
    renewing.set_defaults(run=_renew)


def _files(arguments: argparse.Namespace) -> Any:
    from lineside.security.files import CertificateFiles  # noqa: PLC0415

    return CertificateFiles(load_config(arguments.config).certs_path)


def _init(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import create_authority  # noqa: PLC0415

    files = _files(arguments)
    create_authority(files)
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


def _list(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import certificates  # noqa: PLC0415

    for entry in certificates(_files(arguments)):
        print(f"{entry.days_left:6d} days  {entry.expires:%Y-%m-%d}  {entry.name}  {entry.file}")


def _renew(arguments: argparse.Namespace) -> None:
    from lineside.security.authority import renew  # noqa: PLC0415

    print(renew(_files(arguments), arguments.name))
