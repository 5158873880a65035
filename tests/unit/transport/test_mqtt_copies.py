from __future__ import annotations

import pytest

from lineside.ports import Copy, IncomingReport, Wanted
from lineside.transport.mqtt.copies import MqttCopies
from lineside.transport.mqtt.topics import alarm_topic, copy_topic

ALL: tuple[Wanted, ...] = ("brief", "text", "alarm")


def incoming(device: str = "L1/M+1", wanted: tuple[Wanted, ...] = ALL) -> IncomingReport:
    return IncomingReport(device, "", b"", "reply", b"c", True, 5000, wanted=wanted)


def test_copies_have_the_devices_topics_and_what_is_retained_an_expiry_of_its_own():
    assert MqttCopies(60)(incoming(), "F/12", "raised") == (
        Copy("brief", "lineside/v1/brief/L1/M%2B1", 5000),
        Copy("text", "lineside/v1/text/L1/M%2B1", 5000),
        Copy("alarm", "lineside/v1/diagnosis/L1/M%2B1/F%2F12", 60_000),
    )


def test_a_cleared_alarm_is_taken_away_where_it_stood():
    cleared = MqttCopies(60)(incoming(wanted=("alarm",)), "F/12", "cleared")
    assert cleared == (Copy("cleared", "lineside/v1/diagnosis/L1/M%2B1/F%2F12"),)


def test_an_alarm_that_is_acknowledged_stands_on_and_so_does_what_is_retained():
    assert [copy.form for copy in MqttCopies(60)(incoming(), "F/12", "acknowledged")] == ["brief", "text"]


@pytest.mark.parametrize(("device", "key"), [("", "F"), ("L1", "")])
def test_what_names_no_alarm_is_retained_nowhere(device: str, key: str):
    assert MqttCopies(60)(incoming(device, ("alarm",)), key, "raised") == ()


def test_nothing_is_copied_unless_it_is_wanted():
    assert MqttCopies(60)(incoming(wanted=()), "F", "raised") == ()


def test_no_device_has_a_topic_too():
    assert copy_topic("brief", "") == "lineside/v1/brief"


@pytest.mark.parametrize("key", ["报" * 1000, "x" * 241, "/" * 1000])
def test_a_long_key_is_a_short_level_of_its_own(key: str):
    topic = alarm_topic("L1", key)
    assert topic.startswith("lineside/v1/diagnosis/L1/sha256-")
    assert len(topic) < 110
    assert topic != alarm_topic("L1", key + "y")
