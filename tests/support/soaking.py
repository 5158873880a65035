"""A plant, callers and trouble around a real daemon for as long as asked; what came of it, as numbers.

Up to four parts: daemon and broker are killed again and again; a journal that keeps little is watched for
what it does not forget; the daemon lives through other trouble, and is watched for what it does not give
back; far more is asked of it than it can do. Judges nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.broker import Broker
from tests.support.daemon import Daemon, free_port
from tests.support.filling import fill
from tests.support.ledger import Ledger
from tests.support.plant import Asker, Plant
from tests.support.reckoning import late, p95_s, within_deadline
from tests.support.sampling import Watch
from tests.support.soak_plan import ANSWERED, METRICS, Outcome, Plan
from tests.support.troubles import Troubles

# Reports of two loads are never the same one, nor of the same device soon after each other.
APART = 10_017_000
DEADLINE_MS = 10_000
# From the first answer after a kill, which comes within the other, to the next kill: at random, at most.
KILL_WITHIN_S, BACK_S = 2.0, 120.0
# Until a killed broker is started again: found away once, it is no rival for the daemon's client id.
DOWN_S = 0.6
# Overload before its memory is compared, as a share of its time: queues and what waits in them fill first.
OVERLOAD_WARM_SHARE = 0.6
REPEATS = 5
# A device that heard no answer for so long asks again, where its broker forgets.
AGAIN_S = 5.0
LOAD, OVERLOAD = 0.7, 5.0
# Requests a second while something is killed: enough that some are always at each step of their way.
KILLED_RATE = 10.0
# Of the daemon's kills: the rest are of one without a model, which is ready in a third of the time.
KILLED_WITH_MODEL = 0.1
TOLD_EVERY = 25
# Answers that are kept where the journal is watched, which forgets what is beyond them every 500 reports; and
# load before that, until it has forgotten twice.
KEPT, KEPT_RATE, KEPT_WARM_S = 500, 40.0, 60.0
# A container's clock is nobody's to set, and by one that may be wrong nothing is forgotten.
CLOCK_IS_RIGHT = """\
from lineside.telemetry import clock
clock.synchronised = lambda: True
"""


class Soak:
    """One run in `directory` with a bundle. `hurry`: set, it cuts short what still runs, and counts that."""

    def __init__(self, directory: Path, bundle: Path, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan, self._tell, self._bundle = plan, tell, bundle
        self.hurry = threading.Event()
        metrics_port = free_port()
        self._metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        self.broker = Broker(directory / "broker", free_port())
        self.forgetful = Broker(directory / "forgetful", self.broker.port, persistent=False)
        mqtt = {
            "broker": "external",
            "port": self.broker.port,
            "max_pending_reports": plan.max_pending_reports,
        }
        telemetry = {"log_level": "warning", "metrics": f"127.0.0.1:{metrics_port}"}
        engine = {"kept_entries": plan.kept_entries}
        self.daemon = Daemon(directory / "daemon", bundle, engine=engine, mqtt=mqtt, telemetry=telemetry)
        by_rules = {
            "diagnosis": {"mode": "rules"},
            "mqtt": {**mqtt, "max_pending_reports": 100_000},
            "telemetry": {"log_level": "warning"},
        }
        self.by_rules = Daemon(directory / "rules", Path("none"), **by_rules)
        hook = directory / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(CLOCK_IS_RIGHT)
        self.keeps_little = Daemon(
            directory / "little", Path("none"), **by_rules, journal={"keep_answers": KEPT}
        )
        self.keeps_little.environment["PYTHONPATH"] = str(hook)
        self.troubles = Troubles(self.daemon, self.broker)
        self.ledgers: dict[str, Ledger] = {}
        self.asked_again: Counter[str] = Counter()
        self._watch = Watch(lambda: self.daemon, plan.sample_s)
        self.metrics: dict[str, float | None] = dict.fromkeys(METRICS)
        self._firsts = itertools.count(APART, APART)

    def run(self) -> Outcome:
        """All that is planned. Ends what it started, also where it fails."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.broker.end)
            stack.callback(self.forgetful.end)
            self.broker.start()
            for daemon in (self.daemon, self.by_rules, self.keeps_little):
                stack.callback(daemon.end)
            self.daemon.import_demo()
            self.daemon.start()
            stack.enter_context(self._watch.running())
            if self._plan.kills or self._plan.broker_kills or self._plan.forgetful_kills:
                self._kills()
            if self._plan.journal_s:
                with self._instead(self.keeps_little):
                    self._journal()
            if self._plan.trouble_s or self._plan.overload_s:
                self._under_load()
            return self._outcome()

    def _under_load(self) -> None:
        capacity = self.metrics["capacity_reports_per_s"] = self._capacity()
        self._tell(f"{capacity:.1f} reports a second at most")
        if self._plan.trouble_s:
            self._trouble(LOAD * capacity)
        if self._plan.overload_s:
            self._overload(OVERLOAD * capacity)

    def _outcome(self) -> Outcome:
        totals = {part: ledger.totals() for part, ledger in self.ledgers.items()}
        differing = [name for ledger in self.ledgers.values() for name in ledger.differing()]
        if totals:
            self.metrics["reports_lost"] = sum(one["lost"] for one in totals.values())
            self.metrics["reports_answered_differently"] = len(differing)
            answered = sum((ledger.outcomes() for ledger in self.ledgers.values()), Counter[str]())
            self.metrics |= {f"answered_{one}": answered.pop(one, 0) for one in ANSWERED}
            self.metrics["answered_otherwise"] = answered.total()
        samples = {
            "parts": totals,
            "answered": {part: ledger.outcomes() for part, ledger in self.ledgers.items()},
            "troubles": dict(self.troubles.counts),
            "asked_again": dict(self.asked_again),
            "answered_differently": differing,
            "late": [one for ledger in self.ledgers.values() for one in late(ledger.entries(), DEADLINE_MS)],
            "at_rest": [asdict(sample) for sample in self._watch.at_rest],
            "daemon": [asdict(sample) for sample in self._watch.samples],
        }
        return Outcome(self.metrics, samples)

    def _kills(self) -> None:
        if with_model := math.ceil(self._plan.kills * KILLED_WITH_MODEL):
            with self._load("daemon killed", KILLED_RATE) as plant:
                self._again_and_again(with_model, plant, self.troubles.kill_daemon)
        with self._instead(self.by_rules):
            if by_rules := self._plan.kills - with_model:
                with self._load("daemon by rules killed", KILLED_RATE, generate=False) as plant:
                    self._again_and_again(by_rules, plant, self.troubles.kill_daemon)
            if self._plan.broker_kills:
                self._broker_kills("broker killed", self._plan.broker_kills)
                self.metrics["reports_lost_by_broker"] = self.asked_again["broker killed"]
            if self._plan.forgetful_kills:
                with self._forgetful():
                    self._broker_kills("forgetful broker killed", self._plan.forgetful_kills, AGAIN_S)
        self.metrics["kills"] = sum(self.troubles.counts.values())

    def _broker_kills(self, part: str, times: int, again_s: float | None = None) -> None:
        with self._load(part, KILLED_RATE, generate=False, brokers_promise=False) as plant:
            self._again_and_again(times, plant, lambda: self.troubles.kill_broker(DOWN_S), again_s)

    @contextlib.contextmanager
    def _instead(self, other: Daemon) -> Iterator[None]:
        """Another daemon, which answers by the rules, stands in for the first."""
        model = self.daemon
        model.stop()
        other.import_demo()
        self.daemon = self.troubles.daemon = other
        other.start()
        yield
        other.stop()
        self.daemon = self.troubles.daemon = model
        model.start()

    @contextlib.contextmanager
    def _forgetful(self) -> Iterator[None]:
        """A broker without persistence stands in for the other."""
        self.broker.end()
        self.troubles.broker = self.forgetful
        self.forgetful.start()
        yield
        self.forgetful.end()
        self.troubles.broker = self.broker
        self.broker.start()

    def _again_and_again(
        self, times: int, plant: Plant, kill: Callable[[], None], again_s: float | None = None
    ) -> None:
        """At random moments after answers are heard again. `again_s`: who heard none so long asks again."""
        ledger = self.ledgers[self._watch.part]
        for number in range(1, times + 1):
            if self.hurry.wait(random.uniform(0.0, KILL_WITHIN_S)):
                return
            heard = ledger.heard
            kill()
            end_s = time.monotonic() + BACK_S
            while ledger.heard == heard:
                assert time.monotonic() < end_s, f"{self._watch.part}: no answer any more"
                time.sleep(0.02)
            self._repeat(plant)
            if again_s is not None:
                plant.ask_again(again_s)
            if number % TOLD_EVERY == 0:
                self._tell(f"{self._watch.part}: {number} times")

    def _journal(self) -> None:
        with self._load("journal warm-up", KEPT_RATE, generate=False):
            self.hurry.wait(KEPT_WARM_S)
        self._watch.looks_inside = True
        with self._load("journal", KEPT_RATE, generate=False):
            self.hurry.wait(self._plan.journal_s)
        self._watch.looks_inside = False
        self.metrics |= {
            "journal_slope_mb_per_h": self._watch.slope("journal", "journal_used_mb"),
            "journal_slope_rows_per_h": self._watch.slope("journal", "journal_rows"),
        }

    def _trouble(self, rate: float) -> None:
        self.daemon.stop()
        self.daemon.start()
        fill(self.daemon.address, self._bundle)
        every = [getattr(self.troubles, name) for name in self._plan.troubles] or self.troubles.all()
        with self._load("warm-up", rate, brokers_promise=False) as plant:
            warm_every_s = self._plan.warm_every_s
            self._until(warm_every_s * (len(every) + 1), warm_every_s, plant, iter(every))
            self.hurry.wait(self._plan.warm_up_s)
        before = self._watch.rest()
        with self._load("trouble", rate, brokers_promise=False) as plant:
            self._until(self._plan.trouble_s, self._plan.trouble_every_s, plant, itertools.cycle(every))
        after = self._watch.rest()
        self.metrics |= {
            "memory_slope_mb_per_h": self._watch.slope("trouble", "rss_mb"),
            "anonymous_memory_slope_mb_per_h": self._watch.slope("trouble", "anonymous_mb"),
            "descriptors_leaked": after.descriptors - before.descriptors,
            "threads_leaked": after.threads - before.threads,
            "slots_leaked": self._value("lineside_num_requests_running"),
            "critical_answered_within_deadline": within_deadline(
                self.ledgers["trouble"].entries().values(), DEADLINE_MS
            ),
        }

    def _overload(self, rate: float) -> None:
        with self._load("overload warm-up", rate):
            self.hurry.wait(self._plan.overload_s * OVERLOAD_WARM_SHARE)
        with self._load("overload", rate):
            self.hurry.wait(self._plan.overload_s)
        totals, entries = self.ledgers["overload"].totals(), self.ledgers["overload"].entries().values()
        self.metrics |= {
            "overload_memory_slope_mb_per_h": self._watch.slope("overload", "rss_mb"),
            "overload_critical_within_deadline": within_deadline(entries, DEADLINE_MS),
            "overload_critical_p95_s": p95_s(entries),
            "overload_shed_fraction": totals["shed"] / max(totals["sent"], 1),
        }

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
    def _load(
        self, part: str, rate: float, *, generate: bool = True, brokers_promise: bool = True
    ) -> Iterator[Plant]:
        """Reports over MQTT and calls over gRPC, nine to one; at the end all are answered, or lost.

        Where the broker does not keep what it promised, devices that heard nothing ask again at the end.
        """
        self._watch.part = part
        self._tell(f"{part}: {rate:.1f} requests a second")
        ledger = self.ledgers[part] = Ledger()
        first = next(self._firsts)
        plant = Plant(self.broker.port, ledger, rate=rate * 0.9, deadline_ms=DEADLINE_MS, first=first)
        askers = [
            Asker(f"{part}-{kind}", self.daemon.address, ledger, rate / 20, generate=kind == "generate")
            for kind in ("diagnose", *(("generate",) if generate else ()))
        ]
        try:
            plant.start()
            yield plant
            plant.quiet()
            for asker in askers:
                asker.stop()
            plant.settle(idle_s=self._plan.settle_s)
            if not brokers_promise:
                self.asked_again[part] = len(ledger.waiting())
                plant.settle(idle_s=self._plan.settle_s, again_s=AGAIN_S)
        finally:
            for one in (*askers, plant):
                one.stop()
        self._tell(f"{part}: {ledger.totals()}, asked again at the end: {self.asked_again[part]}")

    def _until(
        self, seconds: float, every_s: float, plant: Plant, troubles: Iterator[Callable[[], None]]
    ) -> None:
        """One trouble after another, while there are; devices repeat some of what they have reported."""
        end_s = time.monotonic() + seconds
        while time.monotonic() + every_s < end_s and (trouble := next(troubles, None)):
            if self.hurry.wait(random.uniform(0.5, 1.5) * every_s):
                return
            trouble()
            self._repeat(plant)
        self.hurry.wait(max(end_s - time.monotonic(), 0))

    def _repeat(self, plant: Plant) -> None:
        for name in plant.recent(REPEATS):
            plant.again(name)

    def _value(self, name: str) -> float:
        """Of a metric without labels."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return next(s.value for family in families for s in family.samples if s.name == name)
