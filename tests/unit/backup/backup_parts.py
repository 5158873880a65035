"""An installation with some state, and what can be said of it."""

from __future__ import annotations

import contextlib
import importlib.resources
import sqlite3
from pathlib import Path

from lineside.backup.parts import Place, place
from lineside.backup.take import back_up
from lineside.config import load_config
from lineside.devices.file import changing, replace
from lineside.devices.registry import Device, Registry
from lineside.diagnosis.knowledge.drafts import Draft, save
from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.feedback.file import FeedbackLimits, open_file
from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.journal_rows import NewReport
from lineside.ports import IncomingReport

SHIPPED_CALIBRATION = (
    importlib.resources.files("lineside.diagnosis.knowledge").joinpath("calibration.toml").read_text("utf-8")
)
LIMITS = Limits(keep_answers=100, max_bytes=1 << 26)


def quiet(*_: object) -> None:
    """No progress."""


def installation(directory: Path, answers: int = 3, state: Path | None = None) -> Place:
    """Configuration, journal, feedback, devices, a draft, a power setting, a calibration and a mapping."""
    directory.mkdir(parents=True, exist_ok=True)
    config_path = directory / "lineside.toml"
    (directory / "bare.toml").write_text("# a mapping\n")
    lines = (f'state_dir = "{state or directory / "state"}"', '[mqtt]\nmappings = ["bare.toml"]\n')
    config_path.write_text("\n".join(lines))
    config = load_config(config_path)
    journal = Journal(config.journal_path, LIMITS)
    for number in range(answers):
        answer(journal, number)
    journal.close()
    open_file(config.feedback_path, FeedbackLimits()).close()
    with changing(config.devices_path):
        replace(config.devices_path, Registry(devices=(Device(id=f"from {directory.name}"),)))
    entry = Entry(source="manual", code="E1", en=Text(title="Motor too hot"))
    save(config.knowledge_path, Draft(source="manual", imported_at="", files=("m",), entries=(entry,)))
    config.power_setting_path.write_text('{"limit_w": 12.5}')
    config.state_path("", "calibration.toml").write_text(SHIPPED_CALIBRATION)
    return place(config_path)


def answer(journal: Journal, number: int) -> None:
    """A report, and its answer, in the journal."""
    incoming = IncomingReport("L1/M1", "", b"{}", "reply", b"c", True, None)
    accepted = journal.accept(NewReport(incoming, f"key {number}", 2, 1000)).result(5)
    journal.answer(accepted.report, b"answer %d" % number).result(5)


def answers(path: Path) -> list[bytes]:
    """All that the journal at `path` has answered."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT answer FROM report ORDER BY id")]


def contents(here: Place) -> dict[str, bytes | list[bytes]]:
    """What each part holds."""
    return {
        part.name: answers(part.path) if part.name == "journal.db" else part.path.read_bytes()
        for part in here.present()
    }


def saved(here: Place, target: Path) -> Path:
    """A backup."""
    back_up(here, target, quiet)
    return target
