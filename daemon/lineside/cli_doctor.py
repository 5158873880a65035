"""`lineside doctor`: what is wrong here and what to do, for people and for scripts. Knows no check."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from lineside import __version__
from lineside.config import SYSTEM_CONFIG, Config, load_config
from lineside.errors import LinesideError

NOT_PUBLISHED = 3
CREDENTIALS = Path("/run/credentials")
MARKS = {"ok": "ok", "note": "note", "warning": "WARNING", "problem": "PROBLEM", "unknown": "unknown"}


def add_doctor(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    doctor = commands.add_parser(
        "doctor", parents=[common], help="what is wrong with this machine, and what to do"
    )
    doctor.add_argument("--json", action="store_true", help="every finding, for programs: docs/doctor.md")
    doctor.add_argument("--deep", action="store_true", help="compare the digests of the bundle's files, too")
    doctor.add_argument("--publish", action="store_true", help="leave the result with the broker, retained")
    doctor.set_defaults(run=_doctor)


def add_wear(commands: Any) -> None:
    """Add the command that root runs for the doctor."""
    wear = commands.add_parser(
        "wear", help="as root: how worn drives are and the clock's battery is, for lineside doctor"
    )
    wear.add_argument("--out", type=Path, help="write it there, whole or not at all; else print it")
    wear.set_defaults(run=_wear)


def _wear(arguments: argparse.Namespace) -> int:
    from lineside.doctor.machine import Machine  # noqa: PLC0415
    from lineside.doctor.measure import measure  # noqa: PLC0415
    from lineside.doctor.measured import write_measured  # noqa: PLC0415

    measured = measure(Machine(Config()))
    if arguments.out is None:
        print(msgspec.json.format(msgspec.json.encode(measured)).decode())
    else:
        write_measured(arguments.out, measured)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from lineside.doctor.checks import all_checks  # noqa: PLC0415
    from lineside.doctor.examine import examine  # noqa: PLC0415
    from lineside.doctor.finding import Finding, exit_status, finding, worst  # noqa: PLC0415
    from lineside.doctor.machine import Machine  # noqa: PLC0415

    found: list[Finding] = []
    try:
        config = _load(arguments.config)
    except LinesideError as error:
        found.append(finding("configuration", "problem", error.message, error.hint))
        config = Config()
    config = with_own_credentials(config, os.environ.get("CREDENTIALS_DIRECTORY", ""))
    machine = Machine(config, Path(config.power.root), time.time(), arguments.deep)
    found += examine(all_checks(arguments.deep), machine)
    if arguments.json:
        report = {"v": 1, "version": __version__, "state": worst(found), "findings": found}
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _print(found)
    if arguments.publish and not _publish(config, found, machine.now_s):
        return NOT_PUBLISHED
    return exit_status(found)


def _load(path: Path | None) -> Config:
    """The configuration; what stands there and is no file could keep its reader waiting."""
    named = path or SYSTEM_CONFIG
    if named.exists() and not named.is_file():
        raise LinesideError("read configuration", f"{named} is no plain file", "name a file with --config")
    return load_config(path)


def with_own_credentials(config: Config, directory: str) -> Config:
    """Secrets that systemd gives to the daemon's unit, as it gives them to the unit that this runs in."""
    if not directory:
        return config
    named = {key: Path(getattr(config.mqtt, key)) for key in ("password_file", "key_file")}
    own = {
        key: str(Path(directory) / path.name)
        for key, path in named.items()
        if path.parent.parent == CREDENTIALS
    }
    return msgspec.structs.replace(config, mqtt=msgspec.structs.replace(config.mqtt, **own))


def _print(found: list[Any]) -> None:
    for each in found:
        if each.state != "not_applicable":
            print(f"{MARKS[each.state]:8} {each.name}: {each.seen}")
            if each.todo and each.state != "ok":
                print(f"{'':9}what to do: {each.todo}")
    hidden = sum(each.state == "not_applicable" for each in found)
    print(f"{len(found)} findings, {hidden} of them do not concern this machine (--json shows all)")


def _publish(config: Config, found: list[Any], now_s: float) -> bool:
    from lineside.doctor.health import health_document  # noqa: PLC0415
    from lineside.transport.mqtt.hello import leave_health  # noqa: PLC0415

    if config.mqtt.broker == "off":
        print("lineside: nothing is published: [mqtt] broker is off", file=sys.stderr)
        return True
    try:
        leave_health(config.mqtt, health_document(found, config.mqtt.client_id, now_s))
    except LinesideError as error:
        print(f"lineside: not published; the next run tries again: {error}", file=sys.stderr)
        return False
    return True
