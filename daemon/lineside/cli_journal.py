"""`lineside journal`: what the journal holds. Knows not how it is kept."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.config import load_config
from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside.journal_shelf import Kept

STATES = ("open", "poison", "unpublished", "done")


def add_journal(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    journal = commands.add_parser(
        "journal", parents=[common], help="reports that are kept, and their answers"
    )
    actions = journal.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[common], help="one line each, oldest first")
    exporting = actions.add_parser("export", parents=[common], help="all of each, JSON Lines")
    exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard output")
    for one, run in ((listing, _list), (exporting, _export)):
        one.add_argument("--state", choices=STATES, help="poison: set aside after it ended the engine")
        one.set_defaults(run=run)
    for name, run, what in (
        ("show", _show, "a report and its answer"),
        ("retry", _retry, "have one that was set aside answered again, by the daemon's next start"),
    ):
        one = actions.add_parser(name, parents=[common], help=what)
        one.add_argument("id", type=int, metavar="ID", help="its number in the list")
        one.set_defaults(run=run)


def _list(arguments: argparse.Namespace) -> None:
    from lineside.journal_shelf import kept  # noqa: PLC0415

    for one in kept(_path(arguments), arguments.state):
        print(f"{one.id}  {one.state}  {_time(one)}  {one.device}  attempts {one.attempts}")


def _show(arguments: argparse.Namespace) -> None:
    from lineside.journal_shelf import find  # noqa: PLC0415

    print(json.dumps(_document(find(_path(arguments), arguments.id)), indent=2, ensure_ascii=False))


def _retry(arguments: argparse.Namespace) -> None:
    from lineside.journal_shelf import retry  # noqa: PLC0415

    retry(_path(arguments), arguments.id)
    print(f"report {arguments.id} is open again: start the daemon")


def _export(arguments: argparse.Namespace) -> None:
    from lineside.journal_shelf import kept  # noqa: PLC0415

    reports = kept(_path(arguments), arguments.state)
    lines = (f"{json.dumps(_document(one), ensure_ascii=False)}\n" for one in reports)
    if arguments.file == "-":
        sys.stdout.writelines(lines)
        return
    try:
        with Path(arguments.file).open("w", encoding="utf-8") as stream:
            stream.writelines(lines)
    except OSError as error:
        hint = "name a file that may be written, or - for standard output"
        raise LinesideError("export journal", f"{arguments.file}: {error.strerror}", hint) from error


def _path(arguments: argparse.Namespace) -> Path:
    return load_config(arguments.config).journal_path


def _time(one: Kept) -> str:
    moment = datetime.datetime.fromtimestamp(one.received_s, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")


def _document(one: Kept) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state,
        "device": one.device,
        "received_at": _time(one),
        "attempts": one.attempts,
        "report": _content(one.payload),
        "answer": _content(one.answer),
    }


def _content(content: bytes | None) -> Any:
    """As JSON where it is some; else as text, with what is no UTF-8 replaced. None: nothing is kept."""
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
