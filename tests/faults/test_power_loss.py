import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.support.promises import LIMITS, REPORTS, unkept, work
from tests.support.writes import Disk, Step, watched

from lineside.errors import LinesideError
from lineside.journal import Journal, open_file

MEMORY = Path("/dev/shm")
# Small, so that pages move from the log into the file, and the log begins anew, several times.
PAGES_BEFORE_CHECKPOINT = 12


@pytest.fixture
def place():
    """Where nothing waits for a disk: what a sync is worth is the log's to say."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


def record(path, monkeypatch, synchronous):
    """The steps on the disk, and the promises between them."""
    steps = []

    def opened(path, limits):
        connection = open_file(path, limits)
        connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BEFORE_CHECKPOINT}")
        if synchronous:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    monkeypatch.setattr("lineside.journal.open_file", opened)
    with watched(steps.append):
        journal = Journal(path, LIMITS)
        work(journal, lambda what, number: steps.append((what, number)))
        done = list(steps)
        journal.close()
    monkeypatch.undo()
    return done


def broken_promises(steps, directory):
    """Of a disk whose power fails after each step: without what was not synced, and with some of it."""
    disk, broken = Disk(), []
    promised = {"accepted": set(), "published": set()}
    for number, step in enumerate(steps):
        if isinstance(step, Step):
            disk.take(step)
        else:
            promised[step[0]].add(step[1])
        for chance in (None, random.Random(number)):
            if chance is None and isinstance(step, Step) and step.kind != "sync":
                continue  # as after the step before it
            there = directory / f"{number}-{chance is None}"
            disk.fail(there, chance)
            try:
                broken += unkept(there / "journal.db", **promised)
            except LinesideError as error:
                broken.append(str(error))
    return broken


def test_no_promise_is_broken_when_the_power_fails_after_any_step(place, monkeypatch):
    steps = record(place / "before" / "journal.db", monkeypatch, "")
    kinds = [(step.kind, step.file) for step in steps if isinstance(step, Step)]
    assert kinds.count(("sync", "journal.db")) > 3, "the log was never taken over"
    assert broken_promises(steps, place / "after") == []


def test_without_a_sync_at_each_commit_promises_are_broken(place, monkeypatch):
    steps = record(place / "before" / "journal.db", monkeypatch, "NORMAL")
    broken = broken_promises(steps, place / "after")
    assert any("report" in one for one in broken)
    assert any("answer" in one for one in broken)


def test_no_promise_is_broken_by_a_kill_before_any_step(place):
    subprocess.run([sys.executable, "-m", "tests.support.promises", place], check=True, timeout=120)
    killed = sorted(place.iterdir(), key=lambda one: int(one.name))
    assert len(killed) > 100
    for one in killed:
        said = [line.split() for line in (one / "promised").read_text().splitlines()]
        promised = {what: {int(n) for w, n in said if w == what} for what in ("accepted", "published")}
        assert unkept(one / "journal.db", **promised) == []
    assert promised["accepted"] == set(range(REPORTS))
