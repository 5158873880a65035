"""`lineside mapping`: what comes out of a gateway's message. Knows nothing of how it is mapped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lineside.config import load_config
from lineside.errors import LinesideError
from lineside.plain_files import read_given

OPERATION = "try mapping"


def add_mapping(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    mapping = commands.add_parser("mapping", parents=[common], help="how gateways' messages become reports")
    actions = mapping.add_subparsers(required=True, metavar="ACTION")
    trying = actions.add_parser("try", parents=[common], help="the reports that come out of a message")
    trying.add_argument("file", type=Path, metavar="FILE", help="the mapping")
    trying.add_argument("payload", metavar="PAYLOAD", help="a file with the message; - for standard input")
    trying.add_argument("--topic", required=True, metavar="T", help="the topic that it came on")
    trying.set_defaults(run=_try)


def _try(arguments: argparse.Namespace) -> int:
    """One line a report, as JSON; 1 where one of them would be answered with an error."""
    from lineside.gateways.gateways import load_gateways  # noqa: PLC0415

    gateways = load_gateways([arguments.file], load_config(arguments.config).plant.timezone)
    reports = gateways.read(arguments.topic, _payload(arguments.payload))
    if reports is None:
        hint = f"name a topic that fits {' or '.join(gateways.filters)}"
        raise LinesideError(OPERATION, f"no mapping of {arguments.file} fits {arguments.topic!r}", hint)
    if not reports:
        print("ignored: the mapping says that this is no alarm", file=sys.stderr)
    refused = [_shown(report) for report in reports]
    return int(any(refused))


def _shown(mapped: Any) -> bool:
    """Print one report, or why it is none; whether it is none."""
    from lineside.diagnosis.report import parse_report  # noqa: PLC0415
    from lineside.errors import RejectedError  # noqa: PLC0415

    try:
        if mapped.refusal is not None:
            raise mapped.refusal
        parse_report(mapped.payload)
    except RejectedError as refusal:
        field = f" (field {refusal.field})" if refusal.field else ""
        print(f"refused for {mapped.device or 'no device'}: {refusal.message}{field}", file=sys.stderr)
        return True
    print(mapped.payload.decode())
    return False


def _payload(name: str) -> bytes:
    try:
        return read_given(name)
    except OSError as error:
        hint = "name a file with the message as the gateway sends it, or - for standard input"
        raise LinesideError(OPERATION, f"{name}: {error.strerror}", hint) from error
