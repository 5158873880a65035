"""What a daemon holds, looked at again and again. Knows nothing of what is done to it meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.reckoning import slope

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment, `at_s` after the start. `anonymous_mb`: its memory without files' pages.

    `journal_mb`: its files. `journal_rows` and `journal_used_mb`: what is in them, None where nobody asks.
    """

    at_s: float
    part: str
    rss_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int
    journal_mb: float
    journal_rows: int | None = None
    journal_used_mb: float | None = None


class Watch:
    """Samples of `daemon()`, one every `every_s`. `part`: what is run now; `looks_inside`: at the journal."""

    def __init__(self, daemon: Callable[[], Daemon], every_s: float) -> None:
        self._daemon, self._every_s = daemon, every_s
        self._begun_s = time.monotonic()
        self.part, self.looks_inside = "", False
        self.samples: list[Sample] = []
        self.at_rest: list[Sample] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """In a thread of its own."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), name="watch", daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join()

    def rest(self) -> Sample:
        """What is held while nothing is asked."""
        time.sleep(self._every_s)
        self.at_rest.append(self._sample())
        return self.at_rest[-1]

    def slope(self, part: str, of: str) -> float:
        """Of a field, an hour, in a part."""
        values = [(one.at_s / 3600, getattr(one, of)) for one in self.samples if one.part == part]
        return slope([value for value in values if value[1] is not None])

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._every_s):
            # Killed a moment ago: gone, or without memory.
            with contextlib.suppress(OSError, KeyError, sqlite3.Error):
                self.samples.append(self._sample())

    def _sample(self) -> Sample:
        daemon = self._daemon()
        process = Path("/proc") / str(daemon.process.pid)
        said = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        state = daemon.directory / "state"
        rows, used_mb = holds(state / "journal.db") if self.looks_inside else (None, None)
        return Sample(
            at_s=round(time.monotonic() - self._begun_s, 1),
            part=self.part,
            rss_mb=_mb(said["VmRSS"]),
            anonymous_mb=_mb(said["RssAnon"]),
            descriptors=len(list((process / "fd").iterdir())),
            threads=int(said["Threads"]),
            journal_mb=round(sum(file.stat().st_size for file in state.glob("journal.db*")) / MB, 2),
            journal_rows=rows,
            journal_used_mb=used_mb,
        )


def holds(journal: Path) -> tuple[int, float]:
    """Rows of all its tables, and what they take of the file, in MB."""
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables)
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return rows, round((pages - free) * size / MB, 3)


def _mb(kilobytes: str) -> float:
    return round(int(kilobytes.split(maxsplit=1)[0]) / 1024, 1)
