"""Reports put through a journal, and what was promised of them. Knows nothing of what happens meanwhile.

    python -m tests.support.promises DIRECTORY

kills a process of this work before each of its steps on the disk, one after the other, each in a directory of
its own below the one given, until one comes to its end. What was promised is in the file `promised` of each.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.journal_rows import NewReport
from lineside.ports import IncomingReport
from tests.support.writes import Step, watched

LIMITS = Limits(keep_answers=1000, max_bytes=1 << 26)
REPORTS = 4


def report(number: int, correlation: bytes = b"first") -> NewReport:
    """The same at every call."""
    incoming = IncomingReport("L1/M1", "", b"payload %d" % number, "reply", correlation, True, None)
    return NewReport(incoming, f"key {number}", 2, None)


def answer_to(number: int) -> bytes:
    """Larger than a page."""
    return b"answer %d " % number * 600


def work(journal: Journal, promise: Callable[[str, int], None]) -> None:
    """Take reports, answer all but each third, mark every second answer done.

    Each promise once it may be given.
    """
    for number in range(REPORTS):
        identity = journal.accept(report(number)).result(10).report
        promise("accepted", number)
        journal.begin(identity).result(10)
        if number % 3 == 2:
            continue
        (delivery,) = journal.answer(identity, answer_to(number)).result(10)
        promise("published", number)
        if number % 2:
            journal.published(delivery.row).result(10)


def unkept(path: Path, accepted: set[int], published: set[int]) -> list[str]:
    """What a journal that is opened again does not keep of its promises. LinesideError: it does not open."""
    journal = Journal(path, LIMITS)
    try:
        broken = []
        waiting = {journal.begin(one.report).result(10).payload for one in journal.open_reports().result(10)}
        for number in sorted(accepted):
            again = journal.accept(report(number, b"again")).result(10)
            payloads = [one.payload for one in again.deliveries]
            if again.fresh or (not payloads and report(number).incoming.payload not in waiting):
                broken.append(f"report {number} lost")
            if number in published and payloads != [answer_to(number)]:
                broken.append(f"answer {number} lost")
        return broken
    finally:
        journal.close()


def _until_killed(directory: Path, last: int) -> None:
    steps = 0

    def before(_: Step) -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    with (directory / "promised").open("w", buffering=1, encoding="ascii") as promised, watched(before):
        journal = Journal(directory / "journal.db", LIMITS)
        work(journal, lambda what, number: print(what, number, file=promised))


def main(directory: Path) -> None:
    """Stops after the first that was not killed."""
    for last in range(1, 100_000):
        place = directory / f"{last}"
        place.mkdir()
        child = os.fork()
        if child == 0:
            _until_killed(place, last)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
