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
# Longer than the flood, on a machine that is busy with other tests, too.
GROUP_S = 10
# Of several lines: each line's alarms, of which every fourth was there before.
LINES, EACH, AGAIN_EVERY = 5, 40, 4


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mqtt = {"group_ms": GROUP_S * 1000, "forms": ["alarm"]}
    daemon = Daemon(tmp_path_factory.mktemp("flood"), Path("none"), diagnosis={"mode": "rules"}, mqtt=mqtt)
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()


def report(name, number="", **alarm):
    dev = {"id": name, "vendor": "Northmoor Drives", "model": "CD-40", "unit": "drive"}
    return {"id": number, "dev": dev, "alarm": {"code": "F012", **alarm}}


def flood(client, reports):
    """At an even pace; seconds that it took, and what was heard once the broker had taken them all."""
    begun_s = time.monotonic()
    sent = []
    for number, one in enumerate(reports):
        sent.append(client.send(f"lineside/v1/fault/{one['dev']['id']}", json.dumps(one).encode()))
        time.sleep(max(begun_s + number * PACE_S - time.monotonic(), 0))
    took_s = time.monotonic() - begun_s
    for one in sent:
        one.wait_for_publish(20)
        assert one.is_published(), "no PUBACK"
    return took_s, [client.wait(seconds=20) for _ in reports]


def by_device(heard):
    return {message.topic.rpartition("/")[2]: json.loads(message.payload) for message in heard}


def counters(daemon):
    return Counter(daemon.status().counters)


def test_two_hundred_alarms_in_two_seconds_are_one_diagnosis(daemon):
    names = [f"L1/M{number:03}" for number in range(ALARMS)]
    with device(daemon.mqtt_port, "lineside/v1/diagnosis/L1/+") as client:
        took_s, heard = flood(client, [report(name) for name in names])
        answers = by_device(heard)
        assert took_s < GROUP_S, "the machine stood still: it is no flood"
        first = answers.pop("M000")
        assert (first["status"], first["meaning"][:21]) == ("ok", "Motor overtemperature")
        assert Counter(one["reason"] for one in answers.values()) == {"grouped": ALARMS - 1}
        assert {one["group"]["first"]["dev"] for one in answers.values()} == {"L1/M000"}
        last = answers["M199"]["group"]
        assert (len(last["rest"]), last["more"]) == (32, ALARMS - 2 - 32)
        told = counters(daemon)
        assert (told["diagnoses_ok"], told["reports_grouped"]) == (1, ALARMS - 1)
        # All of them clear: nothing is looked up, and nothing stays.
        _, gone = flood(client, [report(name, state="cleared") for name in names])
        assert {one["status"] for one in by_device(gone).values()} == {"ok"}
    status = daemon.status()
    assert status.counters["diagnoses_ok"] == 1
    assert status.counters["reports_cleared"] == ALARMS
    assert status.journal_pending == 0


def of_a_line(line):
    """Its alarms in their order: what comes again is the first out's, or that of the device just before."""
    devices = 0
    for number in range(EACH):
        again = number % AGAIN_EVERY == AGAIN_EVERY - 1
        at = (0 if number % (2 * AGAIN_EVERY) == AGAIN_EVERY - 1 else devices - 1) if again else devices
        devices += not again
        yield report(f"S{line}/M{at:02}", f"S{line}-{number:02}")


def test_of_several_lines_each_alarm_is_answered_once_and_what_comes_again_with_its_count(daemon):
    before = counters(daemon)
    # From all lines at once, as in a fault of what feeds them.
    reports = [one for together in zip(*map(of_a_line, range(LINES)), strict=True) for one in together]
    assert len(reports) == ALARMS
    with device(daemon.mqtt_port, *(f"lineside/v1/diagnosis/S{line}/+" for line in range(LINES))) as client:
        _, heard = flood(client, reports)
        told = counters(daemon) - before
        _, (last,) = flood(client, [report("S0/M00", "last")])
    answers = {one["id"]: one for one in (json.loads(message.payload) for message in heard)}
    assert answers.keys() == {one["id"] for one in reports}
    assert json.loads(last.payload)["id"] == "last", "something was answered twice"
    for line in range(LINES):
        first_out = f"S{line}/M00"
        mine = [answers[one["id"]] for one in of_a_line(line)]
        first = [one for one in mine if one["dev"]["id"] == first_out]
        assert {(one["status"], one["diagnosis_id"]) for one in first} == {("ok", first[0]["diagnosis_id"])}
        assert [one["alarm"].get("count", 1) for one in first] == [1, 2, 3, 4, 5, 6]
        rest = [one for one in mine if one["dev"]["id"] != first_out]
        assert {(one["reason"], one["group"]["first"]["dev"]) for one in rest} == {("grouped", first_out)}
        # The last one's alarm was there just before.
        assert [one["dev"] for one in rest[-1]["group"]["rest"]] == [
            f"S{line}/M{number:02}" for number in range(1, EACH - EACH // AGAIN_EVERY)
        ]
    repeated = LINES * EACH // AGAIN_EVERY // 2
    assert (told["diagnoses_ok"], told["reports_repeated"]) == (LINES, repeated)
    assert told["reports_grouped"] == ALARMS - LINES - repeated
    assert daemon.status().journal_pending == 0
