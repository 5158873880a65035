"""Daemon and broker are killed at random moments under load: no report is lost, none answered differently."""

import random
import time
from pathlib import Path

import pytest
from tests.faults.conftest import until
from tests.support.broker import Broker
from tests.support.daemon import Daemon, free_port
from tests.support.ledger import Ledger
from tests.support.plant import Asker, Plant

KILLS = 6
BROKER_KILLS = 3
RATE = 40.0
# Without one more answer.
SETTLE_S = 30.0


@pytest.fixture
def site(tmp_path):
    """Daemon by rules, a broker of its own process, a plant and callers."""

    def make(*, persistent):
        broker = Broker(tmp_path / "broker", free_port(), persistent=persistent)
        made.append(broker.end)
        broker.start()
        daemon = Daemon(
            tmp_path / "daemon",
            Path("none"),
            diagnosis={"mode": "rules"},
            mqtt={"broker": "external", "port": broker.port, "max_pending_reports": 100_000},
            telemetry={"log_level": "info"},
        )
        made.append(daemon.end)
        daemon.import_demo()
        daemon.start()
        ledger = Ledger()
        plant = Plant(broker.port, ledger, rate=RATE, deadline_ms=10_000)
        made.append(plant.stop)
        asker = Asker("g", daemon.address, ledger, 20.0, generate=False)
        made.append(asker.stop)
        plant.start()
        return broker, daemon, plant, asker, ledger

    made = []
    yield make
    for end in reversed(made):
        end()


def test_a_daemon_that_is_killed_again_and_again_loses_nothing(site):
    _, daemon, plant, asker, ledger = site(persistent=True)
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.5))
        waiting = set(ledger.waiting())
        daemon.kill()
        daemon.start()
        # Else the same ones could be at work at each kill, and be set aside as what kills it.
        until(lambda waiting=waiting: not waiting & set(ledger.waiting()), 60)
    asker.stop()
    plant.settle(idle_s=SETTLE_S)
    totals = ledger.totals()
    assert totals["accepted"] == totals["sent"] > 50
    assert (ledger.waiting(), ledger.differing(), totals["poison"]) == ([], [], 0)
    assert totals["answers"] >= totals["answered"] == totals["sent"]


def test_without_persistence_devices_that_ask_again_lose_nothing(site):
    """The broker forgets what it had; who hears no answer publishes the same report once more."""
    broker, _, plant, asker, ledger = site(persistent=False)
    for _ in range(BROKER_KILLS):
        time.sleep(random.uniform(0.1, 0.8))
        broker.kill()
        broker.start()
    until(lambda: ledger.totals()["sent"] > 50)
    asker.stop()
    plant.settle(idle_s=SETTLE_S, again_s=1.0)
    assert (ledger.waiting(), ledger.differing()) == ([], [])
    assert ledger.totals()["answered"] == ledger.totals()["sent"] > 50
