"""Gateways' own messages: each fixture of demo/gateways by a dry run and through a running daemon."""

import json
import subprocess

import pytest
from tests.support.daemon import DEMO, lineside

from lineside.cli import main

GATEWAYS = DEMO / "gateways"
FILES = sorted(path.name for path in GATEWAYS.glob("*.toml"))
# Mapping, message, topic, and (device, code, state) of each report that comes out.
FIXTURES = [
    ("own-schema", "own-schema.payload", "plant/L1/CD-07/fault", [("L1/CD-07", "F012")]),
    ("neuron", "neuron.json", "/neuron/line1/CD-07/faults", [("L1/CD-07", "F012")]),
    ("neuron-opcua-alarm", "neuron-opcua-alarm.json", "/neuron/line1/u/conditions", [("EastTank", "Red")]),
    ("opc-publisher", "opc-publisher.json", "opc/l1/alarms", [("L1/CD-07", "F012"), ("L1/CD-03", "F007")]),
    ("node-red", "node-red.json", "nodered/L1/CD-07/alarm", [("L1/CD-07", "F012"), ("L1/CD-07", "7")]),
    ("bare-code", "bare-code.payload", "plc/L1/CD-07/code", [("L1/CD-07", "F012")]),
    ("bare-code", "bare-line.payload", "plc/L1/CD-07/line", [("L1/CD-07", "F012")]),
]
IDS = [fixture[1] for fixture in FIXTURES]


@pytest.fixture
def daemon(gateway_daemon):
    return gateway_daemon


@pytest.fixture
def sent(tmp_path, request):
    """A file with these bytes."""
    path = tmp_path / "message"
    path.write_bytes(request.param)
    return path


def test_every_mapping_of_the_demo_is_tried():
    assert {f"{mapping}.toml" for mapping, *_ in FIXTURES} == set(FILES)


@pytest.mark.parametrize(("mapping", "message", "topic", "reports"), FIXTURES, ids=IDS)
def test_a_dry_run_shows_the_reports(capsys, mapping, message, topic, reports):
    tried = ["mapping", "try", GATEWAYS / f"{mapping}.toml", GATEWAYS / message, "--topic", topic]
    assert main(list(map(str, tried))) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["dev"]["id"], one["alarm"]["code"]) for one in shown] == reports


@pytest.mark.parametrize(("mapping", "message", "topic", "reports"), FIXTURES, ids=IDS)
def test_a_gateways_message_is_answered(daemon, mapping, message, topic, reports):
    with daemon.subscribe("lineside/v1/diagnosis/#", len(reports)) as answers:
        daemon.publish((GATEWAYS / message).read_bytes(), topic=topic)
        found = [json.loads(line) for line in answers.wait()]
    assert sorted((one["dev"]["id"], one["alarm"]["code"]) for one in found) == sorted(reports)
    for one in found:
        # No manual knows Red; the 7 has cleared.
        assert one["status"] == ("abstain" if one["alarm"]["code"] == "Red" else "ok")


@pytest.mark.parametrize(
    ("topic", "payload", "field", "words"),
    [
        (
            "/neuron/line1/CD-07/faults",
            b'{"values": {"fault_code": "X"}}',
            "alarm.code",
            "digits",
        ),
        ("plc/L1/CD-07/code", b"x" * 65, "alarm.code", "length <= 64"),
        ("plant/L1/CD-07/fault", b'{"dev": {"id": "L1/CD-08"}}', "alarm", "required"),
        ("opc/l1/alarms", b'{"Messages": 7}', "each", "no array"),
        ("nodered/L1/CD-07/alarm", b'{"alarms": [{"code": 1, "on": 3}]}', "alarm.state", "`map`"),
        ("nodered/L1/CD-07/alarm", b"\xff\xff", "", "neither UTF-8 nor GB18030"),
    ],
)
def test_what_does_not_fit_is_answered_with_the_field(daemon, topic, payload, field, words):
    with daemon.subscribe("lineside/v1/diagnosis/#") as answers:
        daemon.publish(payload, topic=topic)
        (answer,) = map(json.loads, answers.wait())
    assert (answer["status"], answer["reason"], answer["field"]) == ("error", "invalid", field)
    assert words in answer["message"]


def test_one_bad_alarm_of_an_array_spoils_no_other(daemon):
    """Each is answered, in the sender's way; the message is acknowledged once."""
    alarms = [{"code": "F012", "on": True}, {"code": 7, "on": 3}, {"on": True}, {"code": 7, "on": False}]
    with daemon.subscribe("lineside/v1/diagnosis/L7/CD-01", 4) as answers:
        daemon.publish({"alarms": alarms, "sent": 1773986531000}, topic="nodered/L7/CD-01/alarm")
        found = [json.loads(line) for line in answers.wait()]
    assert sorted((one["status"], one.get("field", ""), one["alarm"]["code"]) for one in found) == [
        ("error", "alarm.code", ""),
        ("error", "alarm.state", ""),
        ("ok", "", "7"),
        ("ok", "", "F012"),
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"alarm": {"code": "F012\\u0000\\u0000junk"}, "ts": 1773986531000}',
        b'\xef\xbb\xbf{"alarm": {"code": "F012"}, "ts": "2026-03-20 14:02:11"}\0\0\0',
        '{"alarm": {"code": "F012", "text": "电机过热"}, "ts": "2026/3/20 14:02"}'.encode("gb18030"),
        b'{"dev": {"id": "L7/CD-02"}, "alarm": {"code": "F012"}, "ts": "yesterday"}',
    ],
)
def test_our_own_topic_takes_what_controllers_make_of_a_report(daemon, payload):
    with daemon.subscribe("lineside/v1/diagnosis/L7/CD-02") as answers:
        daemon.publish(payload, topic="lineside/v1/fault/L7/CD-02")
        (answer,) = map(json.loads, answers.wait())
    assert (answer["status"], answer["dev"]["id"], answer["alarm"]["code"]) == ("ok", "L7/CD-02", "F012")


@pytest.mark.parametrize("topic", ["plant/L1/CD-07/fault", "lineside/v1/fault/L1/CD-07"])
def test_the_device_of_topic_and_payload_must_agree(daemon, topic):
    with daemon.subscribe("lineside/v1/diagnosis/L1/CD-07") as answers:
        report = b'{"dev": {"id": "L1/CD-08"}, "alarm": {"code": "F012"}}'
        daemon.publish(report, topic=topic)
        (answer,) = map(json.loads, answers.wait())
    assert (answer["field"], answer["dev"]["id"]) == ("dev.id", "L1/CD-07")


def test_a_mapping_with_a_mistake_stops_the_start_and_is_named(tmp_path):
    mapping = tmp_path / "gateway.toml"
    mapping.write_text('[[mapping]]\ntopic = "a/+"\n[mapping.report]\nalarm.code = "code"\n')
    config = tmp_path / "lineside.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[mqtt]\nmappings = ["gateway.toml"]\n')
    done = lineside("serve", "--config", config)
    assert done.returncode == 1
    assert f"{mapping}: mapping 1 (a/+): report.alarm.code" in done.stderr.decode()


def test_a_zone_that_is_unknown_is_named(tmp_path, capsys):
    config = tmp_path / "lineside.toml"
    config.write_text('[plant]\ntimezone = "Mars"\n')
    tried = ["mapping", "try", str(GATEWAYS / "bare-code.toml"), "-", "--topic", "x", "--config", str(config)]
    assert main(tried) == 1
    assert "[plant] timezone: there is no zone 'Mars'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sent", "topic", "status", "words"),
    [
        (b"F12;x;yesterday", "plc/a/b/line", 0, ""),
        (b"0\0\0", "plc/a/b/code", 0, "ignored: the mapping says that this is no alarm"),
        (b"\xff\xff", "plc/a/b/code", 1, "refused for a/b: the payload is neither UTF-8 nor GB18030"),
        (b"x" * 65, "plc/a/b/code", 1, "(field alarm.code)"),
        (b"", "elsewhere", 1, "fits 'elsewhere'\n  what to do: name a topic that fits plc/+/+/code or"),
    ],
    indirect=["sent"],
)
def test_trying_tells_what_is_wrong(sent, capsys, topic, status, words):
    tried = ["mapping", "try", str(GATEWAYS / "bare-code.toml"), str(sent), "--topic", topic]
    assert main(tried) == status
    assert words in capsys.readouterr().err


def test_trying_names_a_message_that_is_not_there(capsys):
    assert main(["mapping", "try", str(GATEWAYS / "bare-code.toml"), "none", "--topic", "x"]) == 1
    assert "none: No such file" in capsys.readouterr().err


def test_redelivered_alarms_are_answered_from_the_journal(daemon):
    message = (GATEWAYS / "opc-publisher.json").read_bytes()
    before = daemon.status().counters["diagnoses_ok"]
    with daemon.subscribe("lineside/v1/diagnosis/#", 2) as answers:
        command = ["mosquitto_pub", "-p", str(daemon.mqtt_port), "-q", "1", "-t", "opc/l1/alarms", "-s"]
        subprocess.run(command, input=message, check=True, timeout=20)
        assert len(answers.wait()) == 2
    assert daemon.status().counters["diagnoses_ok"] == before
