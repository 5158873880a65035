"""`lineside feedback`: verdicts on diagnoses, and what becomes of them. Knows not how either is kept."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.cli_remote import place_of, remote_options
from lineside.config import load_config
from lineside.errors import LinesideError, RejectedError

if TYPE_CHECKING:
    from lineside.feedback.store import Case, FeedbackStore, State
    from lineside.feedback.verdict import Person

ADD_TIMEOUT_S = 10.0


def add_feedback(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    feedback = commands.add_parser("feedback", parents=[common], help="technicians' verdicts on diagnoses")
    actions = feedback.add_subparsers(required=True, metavar="ACTION")
    _add_adding(actions, common)
    listing = actions.add_parser("list", parents=[common], help="verdicts that wait for a decision")
    listing.add_argument("--all", action="store_true", help="the decided ones too")
    listing.set_defaults(run=_list)
    for name, run, what in (
        ("approve", _approve, "make it an entry of the plant's own, retrieved from then on"),
        ("reject", _reject, "it stays exportable and is never retrieved"),
    ):
        deciding = actions.add_parser(name, parents=[common], help=what)
        deciding.add_argument("id", nargs="+", metavar="ID", help="a verdict, or the beginning of its id")
        deciding.add_argument("--by", required=True, metavar="NAME", help="who decides")
        deciding.add_argument("--role", required=True, help="in which role")
        deciding.set_defaults(run=run)
        if name == "reject":
            deciding.add_argument("--why", default="", help="shown beside it")
    exporting = actions.add_parser(
        "export", parents=[common], help="every verdict as labelled data, JSON Lines"
    )
    exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard output")
    exporting.add_argument(
        "--for-eval", action="store_true", help="only what says what is right, as lineside eval needs"
    )
    exporting.set_defaults(run=_export)


def _add_adding(actions: Any, common: argparse.ArgumentParser) -> None:
    remote = remote_options(common, "a daemon elsewhere; default: this machine's file")
    adding = actions.add_parser("add", parents=[remote], help="say whether a diagnosis was right")
    adding.add_argument("diagnosis", metavar="DIAGNOSIS_ID", help="the answer's diagnosis_id")
    adding.add_argument("verdict", choices=("right", "wrong"))
    adding.add_argument("--cause", default="", help="what it really was")
    adding.add_argument("--action", default="", help="what helped")
    adding.add_argument("--by", default="", metavar="NAME", help="who says so")
    adding.add_argument("--badge", default="", help="who says so, by number")
    adding.add_argument("--role", required=True, help="in which role")
    adding.set_defaults(run=_add)


def _add(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415

    from lineside.feedback.verdict import Feedback, Person, parse_feedback  # noqa: PLC0415

    person = Person(name=arguments.by, badge=arguments.badge, role=arguments.role)
    said = Feedback(
        diagnosis_id=arguments.diagnosis,
        verdict=arguments.verdict,
        by=person,
        cause=arguments.cause,
        action=arguments.action,
    )
    payload = msgspec.json.encode(said)
    with _refusals("give feedback"):
        feedback = parse_feedback(payload)
        if arguments.address or arguments.ca or arguments.cert or arguments.key:
            from lineside.transport.grpc import client  # noqa: PLC0415

            client.give_feedback(place_of(arguments), payload, ADD_TIMEOUT_S)
        else:
            from lineside.diagnosis.answers import Clock  # noqa: PLC0415

            with _store(arguments) as store:
                store.add(feedback, Clock().now())
    print(f"stored as {feedback.feedback_id}; a named person approves or rejects it")


def _list(arguments: argparse.Namespace) -> None:
    cases = _kept(arguments, None if arguments.all else "pending")
    for case in cases:
        feedback, diagnosis = case.feedback, case.issued.diagnosis
        print(f"{case.id}  {case.state}  {feedback.verdict}  {case.received_at}  {feedback.by.shown}")
        print(f"    {diagnosis.dev.id} {diagnosis.alarm.code}: {diagnosis.meaning}")
        for name, text in (("cause", feedback.cause), ("action", feedback.action)):
            if text:
                print(f"    {name}: {text}")
        if case.decision is not None:
            became = case.decision.entry or case.decision.why
            print(f"    by {case.decision.by.shown}, {case.decision.at}{f': {became}' if became else ''}")
    if not cases:
        print("none" if arguments.all else "none waits; --all shows the decided ones")


def _approve(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.answers import Clock  # noqa: PLC0415
    from lineside.feedback.lessons import approve  # noqa: PLC0415

    knowledge = load_config(arguments.config).knowledge_path
    with _store(arguments) as store, _refusals("approve verdict"):
        for case in _cases(store, arguments.id):
            entry, version = approve(store, knowledge, case, _person(arguments), Clock().now())
            scope = " ".join(part for part in (entry.vendor, entry.model) if part) or "any vendor"
            print(f"{case.id} approved: {entry.id}, for {scope}; knowledge base version {version}")


def _reject(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.answers import Clock  # noqa: PLC0415
    from lineside.feedback.store import Decision  # noqa: PLC0415

    decision = Decision(by=_person(arguments), at=Clock().now(), why=arguments.why[:500])
    with _store(arguments) as store, _refusals("reject verdict"):
        for case in _cases(store, arguments.id):
            store.decide(case, "rejected", decision)
            print(f"{case.id} rejected")


def _export(arguments: argparse.Namespace) -> None:
    from lineside.feedback.labelled import can_be_scored, labelled  # noqa: PLC0415

    lines = [labelled(case) for case in _kept(arguments)]
    if arguments.for_eval:
        lines = [line for line in lines if can_be_scored(line)]
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    if arguments.file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(arguments.file).write_text(text, "utf-8")
    except OSError as error:
        hint = "name a file that may be written, or - for standard output"
        raise LinesideError("export feedback", f"{arguments.file}: {error.strerror}", hint) from error
    print(f"{len(lines)} verdicts in {arguments.file}")


def _kept(arguments: argparse.Namespace, state: State | None = None) -> list[Case]:
    """What there is; nothing where no daemon has begun a file yet, and then none is begun here."""
    if not _begun(load_config(arguments.config).feedback_path):
        return []
    with _store(arguments) as store:
        return list(store.cases(state))


def _cases(store: FeedbackStore, ids: list[str]) -> list[Case]:
    """All of them, before any is decided: a mistyped id stops the command."""
    return [store.case(one) for one in ids]


def _person(arguments: argparse.Namespace) -> Person:
    from lineside.feedback.verdict import Person  # noqa: PLC0415

    if not arguments.by.strip() or not arguments.role.strip():
        raise LinesideError("decide on verdict", "--by and --role must not be empty", "name who decides")
    return Person(name=arguments.by[:64], role=arguments.role[:64])


def _begun(path: Path) -> bool:
    """Whether the file is there. What hinders looking is told by who opens it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def _store(arguments: argparse.Namespace) -> Iterator[FeedbackStore]:
    from lineside.feedback.file import limits_of  # noqa: PLC0415
    from lineside.feedback.store import FeedbackStore  # noqa: PLC0415

    config = load_config(arguments.config)
    if not _begun(config.feedback_path):
        message = f"{config.feedback_path} is not there: no diagnosis was given here"
        hint = "run it where the daemon runs, with its configuration (--config); or add --address"
        raise LinesideError("open feedback", message, hint)
    store = FeedbackStore(config.feedback_path, limits_of(config.feedback))
    with contextlib.closing(store):
        yield store


@contextlib.contextmanager
def _refusals(operation: str) -> Iterator[None]:
    """What a program is told as a reason and a field, told to a person."""
    try:
        yield
    except RejectedError as refusal:
        where = f"{refusal.field}: " if refusal.field else ""
        raise LinesideError(
            operation, f"{where}{refusal.message}", _HINTS.get(refusal.reason.value, "")
        ) from None


_HINTS = {
    "not_found": "take the diagnosis_id of an answer that this machine gave",
    "storage": "look at the disk, and whether this user may write there",
}
