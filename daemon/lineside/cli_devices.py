"""`lineside devices`: what the plant knows of its machines. Knows nothing of how it is kept."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from lineside.config import load_config
from lineside.errors import LinesideError


def add_devices(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    devices = commands.add_parser(
        "devices", parents=[common], help="the plant's devices, tags and alarm bits"
    )
    actions = devices.add_subparsers(required=True, metavar="ACTION")
    importing = actions.add_parser(
        "import", parents=[common], help="add rows, or replace those that are there"
    )
    importing.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CSV, TSV, XLSX")
    importing.set_defaults(run=_import)
    listing = actions.add_parser("list", parents=[common], help="every device")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", parents=[common], help="all that is known of a device")
    showing.add_argument("id", metavar="ID")
    showing.set_defaults(run=_show)
    removing = actions.add_parser("remove", parents=[common], help="a device, its tags and its alarm bits")
    removing.add_argument("id", metavar="ID")
    removing.set_defaults(run=_remove)
    exporting = actions.add_parser("export", parents=[common], help="CSV, to import again")
    exporting.add_argument("kind", choices=("devices", "tags", "bits"))
    exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard output")
    exporting.set_defaults(run=_export)


def _import(arguments: argparse.Namespace) -> None:
    from lineside.devices.importing import import_devices  # noqa: PLC0415

    result = import_devices(load_config(arguments.config).devices_path, arguments.files)
    for place, kind, columns in result.mappings:
        print(f"{place}: {kind}: " + ", ".join(f"{heading} -> {field}" for heading, field in columns))
    if result.ignored:
        print(f"  not understood, ignored: {', '.join(result.ignored)}")
    read = ", ".join(f"{count} {kind}" for kind, count in result.counts.items())
    print(f"read {read}; {result.replaced} replaced; version {result.registry.version}")


def _list(arguments: argparse.Namespace) -> None:
    registry = _registry(arguments)
    counts = f"{len(registry.devices)} devices, {len(registry.tags)} tags, {len(registry.bits)} alarm bits"
    print(f"version {registry.version}, {counts}")
    for one in registry.devices:
        parts = (one.id, one.vendor, one.model, one.unit, one.fw, one.location)
        print("  " + "  ".join(part for part in parts if part))


def _show(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415
    import yaml  # noqa: PLC0415

    registry, wanted = _registry(arguments), arguments.id
    device = registry.device(wanted)
    found = {
        "device": None if device is None else msgspec.to_builtins(device),
        "tags": [msgspec.to_builtins(one) for one in registry.tags if one.device == wanted],
        "bits": [msgspec.to_builtins(one) for one in registry.bits if one.device == wanted],
    }
    known = {name: value for name, value in found.items() if value}
    if not known:
        raise _unknown("show device", wanted)
    yaml.safe_dump(known, sys.stdout, allow_unicode=True, sort_keys=False, width=110)


def _remove(arguments: argparse.Namespace) -> None:
    from lineside.devices.importing import remove_device  # noqa: PLC0415

    registry, gone = remove_device(load_config(arguments.config).devices_path, arguments.id)
    if not gone:
        raise _unknown("remove device", arguments.id)
    print(f"{gone} rows removed; version {registry.version}")


def _export(arguments: argparse.Namespace) -> None:
    if arguments.file == "-":
        _write(arguments, sys.stdout)
        return
    try:
        # Spreadsheets take a file without the mark for one in the machine's own encoding.
        with Path(arguments.file).open("w", encoding="utf-8-sig", newline="") as stream:
            count = _write(arguments, stream)
    except OSError as error:
        hint = "name a file that can be written, or - for standard output"
        raise LinesideError("export", f"{arguments.file}: {error.strerror}", hint) from error
    print(f"{count} {arguments.kind} in {arguments.file}")


def _write(arguments: argparse.Namespace, stream: Any) -> int:
    import msgspec  # noqa: PLC0415

    from lineside.devices.registry import Bit, Device, Tag  # noqa: PLC0415

    rows = getattr(_registry(arguments), arguments.kind)
    fields = {"devices": Device, "tags": Tag, "bits": Bit}[arguments.kind].__struct_fields__
    table = csv.writer(stream, lineterminator="\n")
    table.writerow("device" if name == "id" else name for name in fields)
    for row in rows:
        cells = msgspec.to_builtins(row)
        table.writerow("\n".join(cells[f]) if f == "safety" else cells[f] for f in fields)
    return len(rows)


def _registry(arguments: argparse.Namespace) -> Any:
    from lineside.devices.file import read  # noqa: PLC0415

    return read(load_config(arguments.config).devices_path)


def _unknown(operation: str, device_id: str) -> LinesideError:
    return LinesideError(operation, f"no device `{device_id}`", "`lineside devices list` names them")
