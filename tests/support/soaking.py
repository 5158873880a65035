"""A plant, callers and trouble around a real daemon for as long as asked; what came of it, as numbers.

Three parts: the daemon is killed again and again; then it lives through other trouble, and is watched for
what it does not give back; then far more is asked of it than it can do. Judges nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.broker import Broker
from tests.support.daemon import Daemon, free_port
from tests.support.ledger import Ledger
from tests.support.plant import Asker, Plant
from tests.support.reckoning import p95_s, slope, within_deadline

PARTS = ("capacity", "kills", "leaks", "overload")
# Reports of two parts are never the same one.
APART = 10_000_000
DEADLINE_MS = 10_000
KILL_EVERY_S = 10.0
TROUBLE_EVERY_S = 60.0
SAMPLE_S = 5.0
REPEATS = 5
SETTLE_S = 60.0
LOAD, OVERLOAD = 0.7, 5.0
SILENT_CONNECTIONS = 100
FULL_S, STOPPED_S = 5.0, 3.0
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment, `at_s` after the start."""

    at_s: float
    part: str
    rss_mb: float
    descriptors: int
    threads: int
    journal_mb: float


@dataclass(slots=True)
class Outcome:
    """What is written: the goals' metrics, and all that they were made from."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, object] = field(default_factory=dict)


class Soak:
    """One run in `directory` with a bundle; `minutes` are shared out: a fifth, three fifths, a fifth."""

    def __init__(self, directory: Path, bundle: Path, minutes: float, tell: Callable[[str], None]) -> None:
        self._seconds, self._tell = minutes * 60, tell
        self._begun_s = time.monotonic()
        metrics_port = free_port()
        self._metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        self.broker = Broker(directory / "broker", free_port())
        self.daemon = Daemon(
            directory / "daemon",
            bundle,
            mqtt={"broker": "external", "port": self.broker.port, "max_pending_reports": 2000},
            telemetry={"log_level": "warning", "metrics": f"127.0.0.1:{metrics_port}"},
        )
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self.troubles: Counter[str] = Counter()
        self._part = ""

    def run(self) -> Outcome:
        """All three parts. Ends what it started, also where it fails."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.broker.end)
            self.broker.start()
            stack.callback(self.daemon.end)
            self.daemon.import_demo()
            self.daemon.start()
            capacity = self._capacity()
            self._tell(f"{capacity:.1f} reports a second at most")
            stop = threading.Event()
            watch = threading.Thread(target=self._watch, args=(stop,), daemon=True)
            watch.start()
            stack.callback(watch.join)
            stack.callback(stop.set)
            return self._parts(capacity)

    def _parts(self, capacity: float) -> Outcome:
        outcome = Outcome()
        with self._load("kills", LOAD * capacity) as plant:
            self._until(self._seconds / 5, KILL_EVERY_S, plant, itertools.repeat(self._kill_daemon))
        self._restart()
        before = self._at_rest()
        with self._load("leaks", LOAD * capacity) as plant:
            self._until(self._seconds * 3 / 5, TROUBLE_EVERY_S, plant, itertools.cycle(self._troubles()))
        after = self._at_rest()
        lasting = self.ledger.totals()
        differing = self.ledger.differing()
        fraction = within_deadline(self.ledger.entries().values(), DEADLINE_MS)
        self.ledger = over = Ledger()
        with self._load("overload", OVERLOAD * capacity):
            time.sleep(self._seconds / 5)
        both = Counter(lasting) + Counter(over.totals())
        outcome.metrics = {
            "reports_lost": both["lost"],
            "reports_answered_differently": both["answered_differently"],
            "kills": self.troubles["daemon killed"] + self.troubles["broker killed"],
            "memory_slope_mb_per_h": self._slope("leaks"),
            "descriptors_leaked": after.descriptors - before.descriptors,
            "threads_leaked": after.threads - before.threads,
            "slots_leaked": self._value("lineside_num_requests_running"),
            "critical_answered_within_deadline": fraction,
            "overload_memory_slope_mb_per_h": self._slope("overload"),
            "overload_critical_within_deadline": within_deadline(over.entries().values(), DEADLINE_MS),
            "overload_critical_p95_s": p95_s(over.entries().values()),
            "overload_shed_fraction": over.totals()["shed"] / max(over.totals()["sent"], 1),
            "capacity_reports_per_s": capacity,
        }
        outcome.samples = {
            "load": lasting,
            "overload": over.totals(),
            "troubles": dict(self.troubles),
            "answered_differently": differing + over.differing(),
            "daemon": [asdict(sample) for sample in self.samples],
        }
        return outcome

    def _capacity(self) -> float:
        """Answers a second while more is waiting than runs."""
        ledger = Ledger()
        plant = Plant(self.broker.port, ledger, rate=200.0, deadline_ms=60_000)
        begun_s = time.monotonic()
        plant.start()
        time.sleep(1.0)
        plant.settle(idle_s=60.0)
        seconds = time.monotonic() - begun_s
        plant.stop()
        return ledger.totals()["answered"] / seconds

    @contextlib.contextmanager
    def _load(self, part: str, rate: float) -> Iterator[Plant]:
        """Reports over MQTT and calls over gRPC, nine to one; at the end all are answered, or lost."""
        self._part = part
        self._tell(f"{part}: {rate:.1f} requests a second")
        first = PARTS.index(part) * APART
        plant = Plant(self.broker.port, self.ledger, rate=rate * 0.9, deadline_ms=DEADLINE_MS, first=first)
        askers = [
            Asker(f"{part}-{kind}", self.daemon.address, self.ledger, rate / 20, generate=kind == "generate")
            for kind in ("diagnose", "generate")
        ]
        try:
            plant.start()
            yield plant
            plant.quiet()
            for asker in askers:
                asker.stop()
            plant.settle(idle_s=SETTLE_S)
        finally:
            for one in (*askers, plant):
                one.stop()
        self._tell(f"{part}: {self.ledger.totals()}")

    def _until(
        self, seconds: float, every_s: float, plant: Plant, troubles: Iterator[Callable[[], None]]
    ) -> None:
        """One trouble after another; devices repeat some of what they have reported."""
        end_s = time.monotonic() + seconds
        while time.monotonic() + every_s < end_s:
            time.sleep(random.uniform(0.5, 1.5) * every_s)
            next(troubles)()
            for name in plant.recent(REPEATS):
                plant.again(name)
        time.sleep(max(end_s - time.monotonic(), 0))

    def _troubles(self) -> tuple[Callable[[], None], ...]:
        return (
            self._kill_broker,
            self._stop_daemon_for_a_while,
            self._silent_connections,
            self._stop_broker_for_a_while,
            self._garbage,
            self._full_disk,
            self._kill_broker,
            self._kill_broker_twice,
        )

    def _kill_daemon(self) -> None:
        self.troubles["daemon killed"] += 1
        self.daemon.kill()
        self.daemon.start()

    def _restart(self) -> None:
        self.daemon.stop()
        self.daemon.start()

    def _kill_broker(self) -> None:
        self.troubles["broker killed"] += 1
        self.broker.kill()
        self.broker.start()

    def _kill_broker_twice(self) -> None:
        self._kill_broker()
        self._kill_broker()

    def _stop_daemon_for_a_while(self) -> None:
        """As a machine that swaps, or a step that hangs for a moment."""
        self.troubles["daemon stood still"] += 1
        self._stopped(self.daemon.process.pid)

    def _stop_broker_for_a_while(self) -> None:
        self.troubles["broker stood still"] += 1
        self._stopped(self.broker.process.pid)

    def _stopped(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)

    def _silent_connections(self) -> None:
        """Opened, never spoken on, and dropped."""
        self.troubles["silent connections"] += 1
        opened = [
            socket.create_connection(("127.0.0.1", self.daemon.grpc_port)) for _ in range(SILENT_CONNECTIONS)
        ]
        time.sleep(FULL_S)
        for one in opened:
            one.close()

    def _garbage(self) -> None:
        """Random bytes to each port."""
        self.troubles["garbage"] += 1
        for port, _ in itertools.product((self.daemon.grpc_port, self.broker.port), range(10)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
                one.sendall(random.randbytes(4096))

    def _full_disk(self) -> None:
        """No file of the daemon's may grow, for a while."""
        self.troubles["disk full"] += 1
        pid = self.daemon.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        time.sleep(FULL_S)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(SAMPLE_S):
            with contextlib.suppress(OSError, KeyError):  # killed a moment ago: gone, or without memory
                self.samples.append(self._sample())

    def _at_rest(self) -> Sample:
        """What is held while nothing is asked."""
        time.sleep(SAMPLE_S)
        return self._sample()

    def _sample(self) -> Sample:
        process = Path("/proc") / str(self.daemon.process.pid)
        said = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        state = self.daemon.directory / "state"
        return Sample(
            at_s=round(time.monotonic() - self._begun_s, 1),
            part=self._part,
            rss_mb=round(int(said["VmRSS"].split()[0]) / 1024, 1),
            descriptors=len(list((process / "fd").iterdir())),
            threads=int(said["Threads"]),
            journal_mb=round(sum(file.stat().st_size for file in state.glob("journal.db*")) / MB, 2),
        )

    def _slope(self, part: str) -> float:
        return slope([(one.at_s / 3600, one.rss_mb) for one in self.samples if one.part == part])

    def _value(self, name: str) -> float:
        """Of a metric without labels."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return next(s.value for family in families for s in family.samples if s.name == name)
