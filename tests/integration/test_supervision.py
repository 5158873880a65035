"""The real daemon under a service manager's eyes: ready, fed, reloaded, hung, stopped."""

import signal
import subprocess
import time

import grpc
import pytest
from tests.support.bundles import SMOLLM2, recipe_bundle
from tests.support.daemon import DEMO, LINESIDE, Daemon
from tests.support.manager import listening

from lineside.transport.grpc import client
from lineside.v1 import admin_pb2, admin_pb2_grpc

WATCHDOG_S = 2.0
# Makes a step of the real engine, a round of the MQTT client's thread, or a gRPC call on the event loop wait
# while a file is there.
HANG = """\
import os, time
import paho.mqtt.client
from lineside.engine import onnxruntime
from lineside.telemetry import status

def hanging(place, name):
    real = getattr(place, name)
    def wait(*arguments):
        while os.path.exists(os.environ["LINESIDE_TEST_HANG"] + name):
            time.sleep(0.1)
        return real(*arguments)
    setattr(place, name, wait)

hanging(onnxruntime.OnnxRuntimeEngine, "forward")
hanging(paho.mqtt.client.Client, "loop_misc")
hanging(status.Status, "status")
"""

STOP_AT_READY = """\
import os, signal
from lineside.supervision.notify import Notifier

def stop(self, **fields):
    if "READY" in fields:
        os.kill(os.getpid(), signal.SIGTERM)

Notifier.send = stop
"""


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A daemon that a manager has just heard to be ready; the manager, and the files that make it hang."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HANG)
    hangs = {name: tmp_path / f"hang-{name}" for name in ("forward", "loop_misc", "status")}
    with listening(tmp_path) as manager:
        for name, value in {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
            "PYTHONPATH": str(tmp_path / "hook"),
            "LINESIDE_TEST_HANG": str(tmp_path / "hang-"),
        }.items():
            monkeypatch.setenv(name, value)
        daemon = Daemon(tmp_path / "plant", recipe_bundle(SMOLLM2))
        daemon.import_demo()
        daemon.start()
        try:
            yield daemon, manager, hangs
        finally:
            for hang in hangs.values():
                hang.unlink(missing_ok=True)
            daemon.end()


def test_ready_comes_after_the_load_and_the_watchdog_is_fed_until_a_step_hangs(watched):
    daemon, manager, hangs = watched
    hang = hangs["forward"]
    assert manager.wait_for("READY") == "1"
    assert {"EXTEND_TIMEOUT_USEC": "30000000"} in manager.heard[:-1], "time is asked for before"
    assert manager.wait_for("WATCHDOG", WATCHDOG_S) == "1"

    hang.touch()
    report = DEMO / "faults" / "overtemperature.en.json"
    command = [LINESIDE, "diagnose", "--address", daemon.address, report]
    asking = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(WATCHDOG_S)
    manager.drop()
    assert not manager.hears("WATCHDOG", 2 * WATCHDOG_S), "a stuck step starves the watchdog"
    assert "of=engine" in daemon.log.read_text()

    hang.unlink()
    assert manager.hears("WATCHDOG", 3 * WATCHDOG_S), "a step that comes back feeds it again"
    asking.wait(60)

    hang.touch()
    daemon.process.send_signal(signal.SIGABRT)
    assert daemon.process.wait(10) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in daemon.log.read_text(), "where each thread was is in the log"


def test_a_stuck_mqtt_thread_starves_the_watchdog(watched):
    daemon, manager, hangs = watched
    assert manager.hears("WATCHDOG", 2 * WATCHDOG_S)
    hangs["loop_misc"].touch()
    time.sleep(WATCHDOG_S)
    manager.drop()
    assert not manager.hears("WATCHDOG", 2 * WATCHDOG_S)
    assert "of=MQTT" in daemon.log.read_text()


def test_a_call_that_blocks_the_event_loop_starves_the_watchdog_whose_signal_ends_the_daemon(watched):
    daemon, manager, hangs = watched
    assert manager.hears("WATCHDOG", 2 * WATCHDOG_S)
    hangs["status"].touch()
    with (
        client.open_channel(daemon.address) as channel,
        pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"),
    ):
        admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=0.5)
    manager.drop()
    assert not manager.hears("WATCHDOG", WATCHDOG_S), "nothing is proven, and nothing is said"
    daemon.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(0.5)
    daemon.process.send_signal(signal.SIGABRT)
    assert daemon.process.wait(10) == -signal.SIGABRT
    assert "in GetStatus" in daemon.log.read_text(), "where it was stuck is in the log"


def test_a_reload_changes_the_log_level_and_a_stop_is_told(watched):
    daemon, manager, _ = watched
    manager.wait_for("READY")
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('"debug"', '"warning"').replace("threads = 2", "threads = 1"))
    daemon.process.send_signal(signal.SIGHUP)
    assert manager.wait_for("RELOADING") == "1"
    assert manager.wait_for("READY") == "1"
    assert "keys=engine.threads" in daemon.log.read_text()
    assert daemon.stop() == 0
    assert manager.wait_for("STOPPING") == "1"
    assert "stopped" not in daemon.log.read_text().splitlines()[-1], "at this level nobody says it"


def test_whoever_is_told_that_it_is_ready_may_stop_it_at_once(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(STOP_AT_READY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    quiet = {"grpc": {"enabled": False}, "mqtt": {"broker": "off"}, "diagnosis": {"mode": "rules"}}
    daemon = Daemon(tmp_path / "plant", tmp_path / "none", **quiet)
    daemon.launch()
    assert daemon.process.wait(30) == 0, daemon.log.read_text()
