from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.ports import IncomingReport
from lineside.transport.mqtt.intake import Intake


class Inbox:
    def __init__(self) -> None:
        self.incoming: list[IncomingReport] = []

    def accept(self, incoming: IncomingReport, on_stored: Any) -> None:
        self.incoming.append(incoming)


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


@pytest.mark.parametrize("reply_to", [b'"elsewhere"', b"7", b'"lineside/v1/fault/x"', b'"response/+"'])
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
