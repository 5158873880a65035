"""Reports and calls put through a journal, and what was promised. Knows nothing of what happens meanwhile.

    python -m tests.support.promises DIRECTORY

kills a process of this work before each of its steps on the disk, one after the other, each in a directory of
its own below the one given, until one comes to its end. What was promised is in the file `promised` of each.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

from lineside.diagnosis.diagnosis import Group
from lineside.journal import PRUNE_EVERY, Journal
from lineside.journal_alarms import Alarm, Life
from lineside.journal_file import Limits
from lineside.journal_rows import NewReport
from lineside.ports import Copy, IncomingReport
from tests.support.older_journal import to_first_schema
from tests.support.writes import Step, watched

LIMITS = Limits(keep_answers=1000, max_bytes=1 << 26)
# What a prune leaves of those that are done.
KEPT = 2
REPORTS, CALLS, TOGETHER = 4, 3, 3
# Of the older version's file: one that is open, one whose answer has not been published.
OLD_OPEN, OLD_ANSWERED = 100, 101

Promise = Callable[[str, int], None]
# What was promised, by kind.
Promised = dict[str, set[int]]


def again(answer: bytes, asked: str, count: int) -> bytes:
    """An alarm's answer for a repeat of it."""
    return b"%s for %s, %d times" % (answer, asked.encode(), count)


def listed(group: Group) -> bytes:
    """The answer of what is only listed in a group."""
    return b"listed behind %s" % group.first.alarm.encode()


LIFE = Life(occurrence_s=86_400, group_ms=86_400_000, again=again)


def report(number: int, correlation: bytes = b"first") -> NewReport:
    """The same at every call."""
    incoming = IncomingReport("L1/M1", "", b"payload %d" % number, "reply", correlation, True, None)
    return NewReport(incoming, f"key {number}", 2, None)


def answer_to(number: int) -> bytes:
    """Larger than a page."""
    return b"answer %d " % number * 600


def of_alarm(name: str, key: str, *copies: Copy, event: str = "raised", line: str = "") -> NewReport:
    """A report of an alarm, with its id; a clear is answered at once."""
    incoming = IncomingReport("L1/M2", "", name.encode(), f"reply/{name}", b"", True, None)
    alarm = Alarm(key, "en", event, name, line, listed)  # type: ignore[arg-type]
    answer = b"noted" if event == "cleared" else None
    return NewReport(incoming, name, 2, None, answer, copies, name, alarm)


def older(path: Path) -> None:
    """A file of the first version."""
    journal = Journal(path, LIMITS)
    journal.accept(report(OLD_OPEN)).result(10)
    journal.accept(replace(report(OLD_ANSWERED), answer=answer_to(OLD_ANSWERED))).result(10)
    journal.close()
    to_first_schema(path)


def work(journal: Journal, promise: Promise) -> None:
    """What a journal is there for, one after the other. Each promise once it may be given."""
    promise("report", OLD_OPEN)
    promise("answer", OLD_ANSWERED)
    for part in (_reports, _calls, _repeats, _forms, _clear, _group, _together, _prune):
        part(journal, promise)


def _reports(journal: Journal, promise: Promise) -> None:
    """Take reports, answer all but each third, mark every second answer done."""
    for number in range(REPORTS):
        identity = journal.accept(report(number)).result(10).report
        promise("report", number)
        journal.begin(identity).result(10)
        if number % 3 == 2:
            continue
        (delivery,) = journal.answer(identity, answer_to(number)).result(10).deliveries
        promise("answer", number)
        if number % 2:
            journal.published(delivery.row).result(10)
            promise("mark", number)


def _calls(journal: Journal, promise: Promise) -> None:
    for number in range(CALLS):
        journal.remember(f"call {number}", "digest", answer_to(number)).result(10)
        promise("call", number)


def _repeats(journal: Journal, promise: Promise) -> None:
    """An alarm, a repeat that waits for its answer, one that comes later."""
    first = journal.accept(of_alarm("r1", "F1")).result(10).report
    promise("alarm", 1)
    journal.accept(of_alarm("r2", "F1")).result(10)
    promise("alarm", 2)
    journal.answer(first, b"answer").result(10)
    promise("repeat", 2)
    journal.accept(of_alarm("r3", "F1")).result(10)
    promise("alarm", 3)
    promise("repeat", 3)


def _forms(journal: Journal, promise: Promise) -> None:
    """Two forms of an answer, of which the broker takes one."""
    identity = journal.accept(of_alarm("f1", "F2", Copy("brief", "brief/L1"))).result(10).report
    promise("form", 0)
    _, brief = journal.answer(identity, b"answer").result(10).deliveries
    journal.published(brief.row).result(10)
    promise("form", 1)


def _clear(journal: Journal, promise: Promise) -> None:
    """An alarm that is cleared before it is answered."""
    journal.accept(of_alarm("c1", "F3", Copy("alarm", "alarm/F3"))).result(10)
    journal.accept(of_alarm("c2", "F3", Copy("cleared", "alarm/F3"), event="cleared")).result(10)
    promise("clear", 0)


def _group(journal: Journal, promise: Promise) -> None:
    for number in range(2):
        journal.accept(of_alarm(f"g{number}", f"F4{number}", line="L1")).result(10)
        promise("group", number)


def _together(journal: Journal, promise: Promise) -> None:
    """Several reports in one commit: they wait while the one before it is under way."""
    begun, held = threading.Event(), threading.Event()
    journal._submit(lambda _: (begun.set(), held.wait(10)))
    begun.wait(10)
    waiting = [journal.accept(of_alarm(f"t{number}", f"F5{number}")) for number in range(TOGETHER)]
    held.set()
    for number, one in enumerate(waiting):
        one.result(10)
        promise("together", number)


def _prune(journal: Journal, promise: Promise) -> None:
    """What is done may go from here on, at the next commit: the clock is right, for all that is known."""
    promise("pruning", 0)
    journal._limits, journal._stored = replace(LIMITS, keep_answers=KEPT), PRUNE_EVERY
    with mock.patch("lineside.journal_file.synchronised", return_value=True):
        journal.accept(report(REPORTS)).result(10)
    promise("prune", 0)
    promise("report", REPORTS)


def unkept(path: Path, promised: Promised) -> list[str]:
    """What a journal that is opened again does not keep of its promises. LinesideError: it does not open."""
    journal = Journal(path, LIMITS, LIFE)
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as rows:
            broken = [
                f"{what} {number}"
                for what, kept in _ROWS.items()
                for number in sorted(promised.get(what, ()))
                if not kept(rows, number)
            ]
            broken += [
                f"half of {what}" for what, query in _WHOLE.items() if len(set(rows.execute(query))) > 1
            ]
        return broken + _unkept_reports(journal, promised) + _unkept_calls(journal, promised)
    finally:
        journal.close()


def _unkept_reports(journal: Journal, promised: Promised) -> list[str]:
    """As who asks again finds it."""
    broken = []
    waiting = {journal.begin(one.report).result(10).payload for one in journal.open_reports().result(10)}
    done = promised.get("mark", set()) if promised.get("pruning") else set()
    for number in sorted((promised.get("report", set()) | promised.get("answer", set())) - done):
        found = journal.accept(report(number, b"again")).result(10)
        payloads = [one.payload for one in found.deliveries]
        if found.fresh or (not payloads and report(number).incoming.payload not in waiting):
            broken.append(f"report {number}")
        if number in promised.get("answer", ()) and payloads != [answer_to(number)]:
            broken.append(f"answer {number}")
    return broken


def _unkept_calls(journal: Journal, promised: Promised) -> list[str]:
    last = range(CALLS - KEPT, CALLS) if promised.get("pruning") else range(CALLS)
    asked = sorted(promised.get("call", set()) & set(last))
    return [
        f"call {number}"
        for number in asked
        if journal.recall(f"call {number}", "digest").result(10) != answer_to(number)
    ]


_Kept = Callable[[sqlite3.Connection, int], bool]


def _holds(query: str) -> _Kept:
    """Whether a query that counts from 1 on for what is kept does so; `:n`: the promise's number."""
    return lambda rows, number: bool(rows.execute(query, {"n": number}).fetchone()[0])


def _repeat_kept(rows: sqlite3.Connection, count: int) -> bool:
    row = rows.execute("SELECT answer FROM report WHERE asked = ?", (f"r{count}",)).fetchone()
    return row == (again(b"answer", f"r{count}", count),)


# Of what was promised, whether it is there.
_ROWS: dict[str, _Kept] = {
    "mark": _holds(
        "SELECT NOT EXISTS (SELECT 1 FROM delivery d JOIN report r ON r.id = d.report"
        " WHERE r.key = 'key ' || :n AND NOT published)"
    ),
    "alarm": _holds("SELECT count(*) FROM alarm WHERE alarm = 'F1' AND count >= :n"),
    "repeat": _repeat_kept,
    "form": _holds(
        "SELECT count(*) = 2 AND sum(form = 'brief' AND published >= :n) FROM delivery"
        " WHERE topic IN ('reply/f1', 'brief/L1')"
    ),
    "clear": _holds(
        "SELECT (SELECT cancelled FROM report WHERE asked = 'c1')"
        " AND (SELECT published FROM delivery WHERE form = 'alarm')"
        " AND (SELECT count(*) FROM delivery WHERE form = 'cleared' AND NOT published)"
    ),
    "group": _holds(
        "SELECT count(*) FROM report r JOIN burst b ON b.report = coalesce(r.burst, r.id)"
        " WHERE r.asked = 'g' || :n AND (r.answer IS NOT NULL) = :n"
    ),
    "together": _holds("SELECT count(*) FROM report WHERE asked = 't' || :n"),
    "prune": _holds("SELECT count(*) = 0 FROM report WHERE key IN ('key 1', 'key 3')"),
}
KINDS = {*_ROWS, "report", "answer", "call"}
# What one transaction writes is there or not, never in part: each query has one row, or the same in all.
_WHOLE = {
    "an alarm's answers": "SELECT answer IS NULL FROM report WHERE asked IN ('r1', 'r2')",
    "a clear": "SELECT count(*) FROM report WHERE asked = 'c2' UNION ALL"
    " SELECT count(*) FROM report WHERE asked = 'c1' AND cancelled UNION ALL"
    " SELECT count(*) FROM delivery WHERE form = 'alarm' AND published UNION ALL"
    " SELECT count(*) FROM delivery WHERE form = 'cleared'",
    "a commit": " UNION ALL ".join(
        f"SELECT count(*) FROM report WHERE asked = 't{n}'" for n in range(TOGETHER)
    ),
}


def _until_killed(directory: Path, last: int) -> None:
    steps = 0

    def before(_: Step) -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    with (directory / "promised").open("w", buffering=1, encoding="ascii") as promised, watched(before):
        journal = Journal(directory / "journal.db", LIMITS, LIFE)
        work(journal, lambda what, number: print(what, number, file=promised))


def main(directory: Path) -> None:
    """Stops after the first that was not killed."""
    with tempfile.TemporaryDirectory(dir=directory.parent) as there:
        older(Path(there) / "journal.db")
        directory.mkdir()
        for last in range(1, 100_000):
            place = shutil.copytree(there, directory / f"{last}")
            child = os.fork()
            if child == 0:
                _until_killed(place, last)
                os._exit(0)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
                return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
