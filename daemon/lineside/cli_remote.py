"""How commands reach a daemon: its address, a client's certificate. Knows not what is asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.config import load_config
from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside.transport.grpc.client import Place


def remote_options(common: argparse.ArgumentParser, whom: str) -> argparse.ArgumentParser:
    """A parent parser; `whom` says which daemon is asked."""
    remote = argparse.ArgumentParser(add_help=False, parents=[common])
    remote.add_argument("--address", metavar="HOST:PORT", help=whom)
    remote.add_argument("--ca", type=Path, metavar="FILE", help="the authority's certificate: use TLS")
    remote.add_argument("--cert", type=Path, metavar="FILE", help="this client's certificate")
    remote.add_argument("--key", type=Path, metavar="FILE", help="the key of it")
    return remote


def place_of(arguments: argparse.Namespace) -> Place:
    """What the options say, else the configuration. Raises LinesideError where only some are given."""
    from lineside.transport.grpc import client  # noqa: PLC0415
    from lineside.transport.grpc.tls import Identity  # noqa: PLC0415

    given = (arguments.ca, arguments.cert, arguments.key)
    if not any(given):
        return arguments.address or client.place_of(load_config(arguments.config))
    if not all(given):
        hint = "name all three: the authority's certificate, and this client's with its key"
        raise LinesideError("connect", "only some of --ca, --cert and --key are given", hint)
    address = arguments.address or client.address_of(load_config(arguments.config).grpc)
    return client.Secured(address, Identity(*given))
