"""What is published beside the full answer: for controllers, for people, and while an alarm stands."""

import json
import time
from pathlib import Path

import grpc
import pytest
from tests.integration.transport.mqtt_parts import device
from tests.support.daemon import Daemon

from lineside.v1 import diagnosis_pb2, diagnosis_pb2_grpc

MARKER = "test/marker"
DRIVE = {"id": "L1/CD-07", "vendor": "Northmoor Drives", "model": "CD-40", "unit": "drive"}
FAULT = {"dev": DRIVE, "alarm": {"code": "F012"}}
CLEARED = {"dev": DRIVE, "alarm": {"code": "F012", "state": "cleared"}}
QUIET = """
[[mapping]]
topic = "quiet/+/+"
forms = []
[mapping.report]
alarm.code = "/code"

[[mapping]]
topic = "plc/+/+"
format = "text"
forms = ["brief", "alarm"]
[mapping.report]
alarm.code = "/0"
alarm.state = { at = "/1", map = { on = "active", off = "cleared" } }
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    directory = tmp_path_factory.mktemp("forms")
    (directory / "gateway.toml").write_text(QUIET.replace('"text"', '"text"\nseparator = " "'))
    daemon = Daemon(
        directory,
        Path("none"),
        diagnosis={"mode": "rules"},
        mqtt={"forms": ["brief", "text", "alarm"], "mappings": ["gateway.toml"]},
    )
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()


def retained(daemon, topic):
    """What a client finds there that comes now, by topic."""
    found = {}

    def collect(message):
        if message.retain:
            found[message.topic] = message.payload
        return message.topic == MARKER

    with device(daemon.mqtt_port, topic, MARKER) as client:
        client.publish(MARKER, b"")
        client.wait(collect)
    return found


def settles(daemon, topic, fits):
    """Whether what is retained there comes to fit: it is published beside the full answer, not before it."""
    end_s = time.monotonic() + 10
    while not fits(retained(daemon, topic)):
        if time.monotonic() > end_s:
            return False
    return True


def stands(daemon, topic, count=1):
    """Whether a diagnosis comes to be retained there, of an alarm that was reported so often."""
    return settles(
        daemon,
        topic,
        lambda found: topic in found and json.loads(found[topic])["alarm"].get("count", 1) == count,
    )


def gone(daemon, topic):
    """Whether nothing is retained there any more, soon."""
    return settles(daemon, topic, lambda found: not found)


@pytest.mark.parametrize(("locale", "word"), [("en", "Motor overtemperature"), ("zh", "电机过热")])
def test_a_controller_and_people_get_their_own_form(daemon, locale, word):
    with device(daemon.mqtt_port, "lineside/v1/brief/+/+", "lineside/v1/text/+/+") as client:
        daemon.publish({**FAULT, "locale": locale})
        short = client.wait(lambda message: message.topic == "lineside/v1/brief/L1/CD-07")
        long = client.wait(lambda message: message.topic == "lineside/v1/text/L1/CD-07")
    assert short.properties.ContentType == "application/json"
    assert long.properties.ContentType == "text/plain; charset=utf-8"
    brief, text = json.loads(short.payload), long.payload.decode()
    assert (brief["st"], brief["code"], brief["mean"][: len(word)]) == ("ok", "F012", word)
    assert brief["safe"]
    assert text.splitlines()[0].endswith("L1/CD-07 F012")
    assert any(line.startswith(word) for line in text.splitlines())


def test_a_diagnosis_stands_until_its_alarm_clears(daemon):
    topic = "lineside/v1/diagnosis/L1/CD-07/F012"
    daemon.ask({**FAULT, "id": "stands"})
    assert stands(daemon, topic)
    assert json.loads(retained(daemon, topic)[topic])["alarm"]["code"] == "F012"
    before = daemon.status().counters["diagnoses_ok"]
    answer = daemon.ask(CLEARED)
    assert "cleared" in answer["meaning"]
    assert gone(daemon, topic)
    assert daemon.status().counters["diagnoses_ok"] == before
    daemon.ask({**FAULT, "id": "stands"})
    assert stands(daemon, topic), "the same alarm again, answered from the journal"


def test_an_alarm_that_is_reported_again_and_again_is_diagnosed_once_and_counted(daemon):
    report = {"dev": {**DRIVE, "id": "L3/CD-09"}, "alarm": {"code": "F012"}}
    before = daemon.status().counters.get("diagnoses_ok", 0)
    counts = [daemon.ask({**report, "id": f"again-{number}"})["alarm"]["count"] for number in range(3)]
    acknowledged = daemon.ask({**report, "alarm": {"code": "F012", "state": "acknowledged"}})
    assert counts == [1, 2, 3]
    assert "acknowledged" in acknowledged["meaning"]
    assert daemon.status().counters["diagnoses_ok"] == before + 1
    assert daemon.status().counters["reports_repeated"] >= 2
    topic = "lineside/v1/diagnosis/L3/CD-09/F012"
    assert stands(daemon, topic, count=3)


def audited(daemon):
    """The records in the daemon's log, as far as its lines are whole."""
    lines = daemon.log.read_text().split("\n")[:-1]
    return [json.loads(line)["audit"] for line in lines if line.startswith('{"audit"')]


def test_every_request_leaves_one_record_without_what_was_sent(daemon):
    daemon.ask({"dev": {**DRIVE, "id": "L4/A"}, "alarm": {"code": "F012"}, "id": "audited"})
    daemon.ask({"dev": {**DRIVE, "id": "L4/A"}, "alarm": {"code": "F012", "sev": 5000}, "id": "refused"})
    with grpc.insecure_channel(daemon.address) as channel:
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
        report = json.dumps({**FAULT, "id": "asked"}).encode()
        stub.Diagnose(diagnosis_pb2.DiagnoseRequest(report_json=report), timeout=20)
        list(stub.DiagnoseStream(diagnosis_pb2.DiagnoseRequest(report_json=report), timeout=20))
        with pytest.raises(grpc.RpcError):
            stub.Diagnose(diagnosis_pb2.DiagnoseRequest(report_json=b"{"), timeout=20)
    # A record is written once its request is over, which may be after the answer is there.
    end_s = time.monotonic() + 20
    while "INVALID_ARGUMENT" not in {one["outcome"] for one in audited(daemon)}:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    records = audited(daemon)
    over_mqtt = [one for one in records if one["who"] == "mqtt:L4/A"]
    assert [(one["id"], one["outcome"], one.get("reason", "")) for one in over_mqtt] == [
        ("audited", "ok", ""),
        ("refused", "error", "invalid"),
    ]
    over_grpc = [one for one in records if one["who"] == "grpc:127.0.0.1" and "Diagnose" in one["what"]]
    assert [(one["what"], one["outcome"], one.get("reason", "")) for one in over_grpc] == [
        ("Diagnose", "OK", ""),
        ("DiagnoseStream", "OK", ""),
        ("Diagnose", "INVALID_ARGUMENT", "invalid"),
    ]
    assert all(one["took_ms"] >= 0 and one["when"] for one in records)
    assert not any("payload" in one for one in records)


def test_a_key_is_one_level_whatever_it_holds(daemon):
    report = {"dev": {"id": "L9/K"}, "alarm": {"code": "A/+#é %"}}
    daemon.ask(report)
    topic = "lineside/v1/diagnosis/L9/K/A%2F%2B%23%C3%A9%20%25"
    assert settles(daemon, "lineside/v1/diagnosis/L9/K/+", lambda found: topic in found)


def test_an_error_is_told_shortly_and_retained_nowhere(daemon):
    with daemon.subscribe("lineside/v1/brief/L9/E") as answers:
        daemon.publish({"dev": {"id": "L9/E"}, "alarm": {"code": "F", "sev": 5000}})
        brief = json.loads(answers.wait()[0])
    assert brief["st"] == "invalid"
    assert brief["mean"].startswith("Expected `int` <= 1000")
    assert retained(daemon, "lineside/v1/diagnosis/L9/E/+") == {}


def test_a_mapping_says_otherwise_and_clears_through_it(daemon):
    with daemon.subscribe("lineside/v1/+/L2/+", 1, "-F", "=> %t") as answers:
        daemon.publish(b'{"code": "F012"}', topic="quiet/L2/A")
        assert answers.wait() == [b"lineside/v1/diagnosis/L2/A"]
    topic = "lineside/v1/diagnosis/L2/B/F012"
    for state, comes in (("on", stands), ("off", gone)):
        with daemon.subscribe("lineside/v1/brief/L2/B") as answers:
            daemon.publish(f"F012 {state}\0\0".encode(), topic="plc/L2/B")
            answers.wait()
        assert comes(daemon, topic)
    assert retained(daemon, "lineside/v1/text/#") == {}


def test_retained_diagnoses_and_removals_survive_a_crash_before_the_broker_has_them(daemon):
    """The broker keeps what it was given; the journal what it was not."""
    topic = "lineside/v1/diagnosis/L1/CD-07/F007"
    for state, comes in (("active", stands), ("inactive", gone)):
        daemon.ask({"dev": DRIVE, "alarm": {"code": "F007", "state": state}})
        daemon.kill()
        daemon.start()
        assert comes(daemon, topic)
