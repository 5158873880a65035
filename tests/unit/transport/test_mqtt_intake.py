from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.gateways.gateways import Gateways, load_gateways
from lineside.ports import IncomingReport
from lineside.transport.mqtt.intake import Intake


class Inbox:
    def __init__(self) -> None:
        self.incoming: list[IncomingReport] = []
        self.on_stored: list[Any] = []

    def accept(self, incoming: IncomingReport, on_stored: Any) -> None:
        self.incoming.append(incoming)
        self.on_stored.append(on_stored)


class Admin:
    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] += amount


def message(payload: bytes = b"{}", topic: str = "lineside/v1/fault/a/b", **properties: Any) -> MQTTMessage:
    made = MQTTMessage(1, topic.encode())
    made.payload = payload
    made.qos = 1
    made.properties = Properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        setattr(made.properties, name, value)
    return made


def taken(made: MQTTMessage) -> IncomingReport:
    inbox = Inbox()
    Intake(inbox, Admin(), ("response/#", "lineside/v1/diagnosis/#")).take(made, lambda: None)
    return inbox.incoming[0]


def test_a_message_without_properties_is_of_an_older_protocol():
    report = taken(message(b'{"x":1}'))
    assert report == IncomingReport("a/b", "", b'{"x":1}', "lineside/v1/diagnosis/a/b", b"", False, None)


def test_properties_are_passed_on():
    report = taken(message(ResponseTopic="response/1", CorrelationData=b"\0\xff", MessageExpiryInterval=3))
    assert (report.reply_topic, report.correlation, report.remaining_ms) == ("response/1", b"\0\xff", 3000)
    assert report.mqtt5


@pytest.mark.parametrize("name", ["ContentType", "UserProperty"])
def test_any_property_of_a_publisher_tells_its_protocol(name: str):
    assert taken(message(**{name: ("a", "b") if name == "UserProperty" else "x"})).mqtt5


def test_the_response_topic_wins_over_the_json():
    payload = b'{"reply_to":"response/json"}'
    assert taken(message(payload)).reply_topic == "response/json"
    assert taken(message(payload, ResponseTopic="response/mqtt")).reply_topic == "response/mqtt"


@pytest.mark.parametrize(
    ("payload", "request_id"),
    [
        (b'{"request_id":"r","id":"i"}', "r"),
        (b'{"id":"i"}', "i"),
        (b'{"request_id":7,"id":"i"}', "i"),
        (b'{"id":"' + b"x" * 129 + b'"}', ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b"", ""),
        (b"[" * 60_000, ""),
        (b'{"id":"i"}' + b" " * 65_536, ""),
    ],
)
def test_the_id_is_read_where_there_is_one(payload: bytes, request_id: str):
    report = taken(message(payload))
    assert report.request_id == request_id
    assert report.payload == payload


@pytest.mark.parametrize(
    "reply_to",
    [b'"elsewhere"', b"7", b'"lineside/v1/fault/x"', b'"response/+"', b'"lineside/v1/diagnosis/b"'],
)
def test_a_reply_topic_that_is_none_leads_to_the_default(reply_to: bytes):
    report = taken(message(b'{"reply_to":' + reply_to + b"}"))
    assert report.reply_topic == "lineside/v1/diagnosis/a/b"


def test_a_refused_reply_topic_is_counted_and_logged(caplog: pytest.LogCaptureFixture):
    inbox, admin = Inbox(), Admin()
    Intake(inbox, admin, ("response/#",)).take(message(ResponseTopic="other"), lambda: None)
    assert admin.counters == {"mqtt_reports": 1, "mqtt_reply_topics_refused": 1}
    assert "refused a reply topic" in caplog.text


@pytest.mark.parametrize("case", ["retained", "long"])
def test_what_is_not_taken_is_acknowledged_and_counted(case: str):
    inbox, admin = Inbox(), Admin()
    acknowledged: list[bool] = []
    made = message(topic="lineside/v1/fault/" + ("x" * 513 if case == "long" else "x"))
    made.retain = case == "retained"
    Intake(inbox, admin, ()).take(made, lambda: acknowledged.append(True))
    assert inbox.incoming == []
    assert acknowledged == [True]
    assert admin.counters == {"mqtt_retained_ignored" if case == "retained" else "mqtt_bad_topics": 1}


MAPPING = """
[[mapping]]
topic = "gw/+/+"
each = "/alarms"
ignore = [{ at = "/code", equals = [0] }]
[mapping.report]
alarm.code = "/code"
reply_to = { top = "/to", optional = true }
request_id = { top = "/id", optional = true }
"""


@pytest.fixture
def gateways(tmp_path: Path) -> Gateways:
    path = tmp_path / "gateway.toml"
    path.write_text(MAPPING, "utf-8")
    return load_gateways([path], "")


def through(gateways: Gateways, made: MQTTMessage) -> tuple[Inbox, Admin, list[bool]]:
    inbox, admin, acknowledged = Inbox(), Admin(), []
    intake = Intake(inbox, admin, ("response/#", "gw/#"), gateways)
    intake.take(made, lambda: acknowledged.append(True))
    return inbox, admin, acknowledged


def test_one_message_is_as_many_reports_and_is_acknowledged_after_the_last_is_stored(gateways: Gateways):
    payload = b'{"alarms":[{"code":1},{"code":2},{}],"to":"response/x","id":"r"}'
    inbox, admin, acknowledged = through(gateways, message(payload, "gw/L1/M1", CorrelationData=b"c"))
    assert [one.payload[:40] for one in inbox.incoming[:2]] == [
        b'{"dev":{"id":"L1/M1"},"alarm":{"code":"1',
        b'{"dev":{"id":"L1/M1"},"alarm":{"code":"2',
    ]
    first, _, third = inbox.incoming
    assert (first.device, first.reply_topic, first.request_id) == ("L1/M1", "response/x", "r")
    assert (first.correlation, first.mqtt5, first.verb) == (b"c", True, "fault")
    assert third.refusal is not None
    assert (third.refusal.field, third.reply_topic) == ("alarm.code", "response/x")
    assert admin.counters["mqtt_reports"] == 3
    for stored in inbox.on_stored:
        assert acknowledged == []
        stored()
    assert acknowledged == [True]


def test_no_answer_goes_where_a_mapping_listens(gateways: Gateways):
    made = message(b'{"alarms":[{"code":1}]}', "gw/L1/M1", ResponseTopic="gw/L1/M2")
    inbox, admin, _ = through(gateways, made)
    assert inbox.incoming[0].reply_topic == "lineside/v1/diagnosis/L1/M1"
    assert admin.counters["mqtt_reply_topics_refused"] == 1


@pytest.mark.parametrize(
    ("payload", "topic", "counter"),
    [
        (b'{"alarms":[{"code":0}]}', "gw/L1/M1", "mqtt_ignored"),
        (b'{"alarms":[]}', "gw/L1/M1", "mqtt_ignored"),
        (b'{"alarms":[{"code":1}]}', "gw/of/an/earlier/mapping", "mqtt_bad_topics"),
    ],
)
def test_what_is_no_report_is_acknowledged_and_counted(gateways: Gateways, payload, topic, counter):
    inbox, admin, acknowledged = through(gateways, message(payload, topic))
    assert (inbox.incoming, acknowledged, admin.counters) == ([], [True], {counter: 1})


def test_a_device_that_no_topic_could_hold_is_answered_where_one_can(gateways: Gateways):
    inbox, _, _ = through(gateways, message(b'{"alarms":[{"code":1}]}', f"gw/{'x' * 300}/y"))
    (report,) = inbox.incoming
    assert report.refusal is not None
    assert (report.refusal.field, len(report.device)) == ("dev.id", 128)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_the_envelope_is_read_in_any_encoding(encoding: str):
    payload = '{"id":"号1","reply_to":"response/1"}'.encode(encoding) + b"\0"
    report = taken(message(payload))
    assert (report.request_id, report.reply_topic) == ("号1", "response/1")


def test_a_mapping_says_which_forms_its_answers_have_and_else_the_configuration_does(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    silent = MAPPING.replace("gw/+/+", "silent/+/+").replace("each", "forms = []\neach")
    path.write_text(MAPPING + silent, "utf-8")
    loaded = load_gateways([path], "")
    wanted = {}
    for topic in ("gw/L1/M1", "silent/L1/M1", "lineside/v1/fault/L1/M1"):
        inbox = Inbox()
        intake = Intake(inbox, Admin(), (), loaded, ("brief",))
        intake.take(message(b'{"alarms":[{"code":1}]}', topic), lambda: None)
        wanted[topic.split("/")[0]] = inbox.incoming[0].wanted
    assert wanted == {"gw": ("brief",), "silent": (), "lineside": ("brief",)}


def test_retained_messages_are_taken_where_that_is_configured():
    inbox, made = Inbox(), message()
    made.retain = True
    Intake(inbox, Admin(), (), retained=True).take(made, lambda: None)
    assert len(inbox.incoming) == 1


def test_a_topic_whose_messages_may_be_lost_is_named_once(caplog: pytest.LogCaptureFixture):
    admin, inbox = Admin(), Inbox()
    intake = Intake(inbox, admin, ())
    for topic in ("lineside/v1/fault/a", "lineside/v1/fault/a", "lineside/v1/fault/b"):
        made = message(topic=topic)
        made.qos = 0
        intake.take(made, lambda: None)
    assert admin.counters["mqtt_qos0"] == 3
    assert len([one for one in caplog.records if "QoS 0" in one.message]) == 2
    assert len(inbox.incoming) == 3


def test_the_topics_that_are_named_are_bounded(caplog: pytest.LogCaptureFixture):
    intake = Intake(Inbox(), Admin(), ())
    for number in range(300):
        made = message(topic=f"lineside/v1/fault/{number}")
        made.qos = 0
        intake.take(made, lambda: None)
    assert len([one for one in caplog.records if "QoS 0" in one.message]) == 256
