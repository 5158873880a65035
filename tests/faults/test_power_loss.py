import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from tests.support.promises import KINDS, LIFE, LIMITS, OLD_OPEN, REPORTS, older, unkept, work
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
        older(Path(directory) / "older" / "journal.db")
        yield Path(directory)


def record(place, monkeypatch, synchronous, pages):
    """The steps on the disk, and the promises between them."""
    steps = []

    def opened(path, limits):
        connection = open_file(path, limits)
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        if synchronous:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    monkeypatch.setattr("lineside.journal.open_file", opened)
    shutil.copytree(place / "older", place / "before")
    with watched(steps.append):
        journal = Journal(place / "before" / "journal.db", LIMITS, LIFE)
        work(journal, lambda what, number: steps.append((what, number)))
        done = list(steps)
        journal.close()
    monkeypatch.undo()
    shutil.rmtree(place / "before")
    return done


def broken_promises(steps, place):
    """Of a disk whose power fails after each step: without what was not synced, and with some of it."""
    disk, broken = Disk(place / "older"), []
    promised = defaultdict(set)
    for number, step in enumerate(steps):
        if isinstance(step, Step):
            disk.take(step)
        else:
            promised[step[0]].add(step[1])
        for chance in (None, random.Random(number)):
            if chance is None and isinstance(step, Step) and step.kind != "sync":
                continue  # as after the step before it
            there = place / f"{number}-{chance is None}"
            disk.fail(there, chance)
            try:
                broken += unkept(there / "journal.db", promised)
            except LinesideError as error:
                broken.append(str(error))
            shutil.rmtree(there)
    return broken


def test_no_promise_is_broken_when_the_power_fails_after_any_step(place, monkeypatch):
    steps = record(place, monkeypatch, "", PAGES_BEFORE_CHECKPOINT)
    kinds = [(step.kind, step.file) for step in steps if isinstance(step, Step)]
    assert kinds.count(("sync", "journal.db")) > 3, "the log was never taken over"
    assert broken_promises(steps, place) == []


def test_without_a_sync_at_each_commit_promises_of_every_kind_are_broken(place, monkeypatch):
    """A log that is taken over just then keeps one by chance: so it is taken over at other times, too."""
    kept = KINDS
    for pages in range(PAGES_BEFORE_CHECKPOINT, 4 * PAGES_BEFORE_CHECKPOINT, 4):
        steps = record(place, monkeypatch, "NORMAL", pages)
        kept = kept - {one.split()[0] for one in broken_promises(steps, place)}
        if not kept:
            break
    assert kept == set()


def test_no_promise_is_broken_by_a_kill_before_any_step(place):
    killed_in = place / "killed"
    subprocess.run([sys.executable, "-m", "tests.support.promises", killed_in], check=True, timeout=300)
    killed = sorted(killed_in.iterdir(), key=lambda one: int(one.name))
    assert len(killed) > 100
    for one in killed:
        promised = defaultdict(set)
        for line in (one / "promised").read_text().splitlines():
            what, number = line.split()
            promised[what].add(int(number))
        assert unkept(one / "journal.db", promised) == []
    assert promised["report"] == {*range(REPORTS + 1), OLD_OPEN}
