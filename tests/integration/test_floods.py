"""Two hundred alarms in two seconds, from real clients through a real Mosquitto."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.integration.transport.mqtt_parts import device
from tests.support.daemon import Daemon

ALARMS = 200
PACE_S = 1.2 / ALARMS


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    # Longer than the flood, on a machine that is busy with other tests, too.
    mqtt = {"group_ms": 10_000, "forms": ["alarm"]}
    daemon = Daemon(tmp_path_factory.mktemp("flood"), Path("none"), diagnosis={"mode": "rules"}, mqtt=mqtt)
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()


def report(number, **alarm):
    dev = {"id": f"L1/M{number:03}", "vendor": "Northmoor Drives", "model": "CD-40", "unit": "drive"}
    return json.dumps({"dev": dev, "alarm": {"code": "F012", **alarm}}).encode()


def flood(client, count, **alarm):
    """At an even pace; seconds that it took, and the answers by device."""
    begun_s = time.monotonic()
    for number in range(count):
        client.send(f"lineside/v1/fault/L1/M{number:03}", report(number, **alarm))
        time.sleep(max(begun_s + number * PACE_S - time.monotonic(), 0))
    took_s = time.monotonic() - begun_s
    heard = [client.wait(seconds=20) for _ in range(count)]
    return took_s, {message.topic.rpartition("/")[2]: json.loads(message.payload) for message in heard}


def test_two_hundred_alarms_in_two_seconds_are_one_diagnosis(daemon):
    with device(daemon.mqtt_port, "lineside/v1/diagnosis/L1/+") as client:
        took_s, answers = flood(client, ALARMS)
        assert took_s < 2
        first = answers.pop("M000")
        assert (first["status"], first["meaning"][:21]) == ("ok", "Motor overtemperature")
        assert Counter(one["reason"] for one in answers.values()) == {"grouped": ALARMS - 1}
        assert {one["group"]["first"]["dev"] for one in answers.values()} == {"L1/M000"}
        last = answers["M199"]["group"]
        assert (len(last["rest"]), last["more"]) == (32, ALARMS - 2 - 32)
        counters = daemon.status().counters
        assert (counters["diagnoses_ok"], counters["reports_grouped"]) == (1, ALARMS - 1)
        # All of them clear: nothing is looked up, and nothing stays.
        _, gone = flood(client, ALARMS, state="cleared")
        assert {one["status"] for one in gone.values()} == {"ok"}
    status = daemon.status()
    assert status.counters["diagnoses_ok"] == 1
    assert status.counters["reports_cleared"] == ALARMS
    assert status.journal_pending == 0
