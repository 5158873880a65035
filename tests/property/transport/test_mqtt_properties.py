from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage, topic_matches_sub
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.transport.mqtt.intake import Intake
from lineside.transport.mqtt.topics import (
    FAULT_FILTER,
    UNSAFE,
    check_filters,
    decode_device,
    default_reply,
    device_levels,
    encode_device,
    may_reply_to,
)

LEVEL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), max_size=8)
TOPIC = st.lists(LEVEL, min_size=1, max_size=5).map("/".join)
FILTER = st.tuples(st.lists(LEVEL | st.just("+"), min_size=1, max_size=4), st.sampled_from(["", "/#"])).map(
    lambda parts: "/".join(parts[0]) + parts[1]
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_device_id_survives_its_topic(device: str):
    assert decode_device(encode_device(device)) == device


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_encoded_device_is_a_topic_that_we_hear_and_answer_to(device: str):
    levels = encode_device(device)
    assert not UNSAFE.search(levels.replace("%", ""))
    topic = f"lineside/v1/fault/{levels}"
    assert topic_matches_sub(FAULT_FILTER, topic)
    assert device_levels(topic) == levels
    assert not topic_matches_sub(FAULT_FILTER, default_reply(topic))


def matches(topic_filter: str, topic: str) -> bool:
    """The standard's rule, written once more."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(levels) or part not in ("+", levels[index]):
            return False
    return len(levels) == len(wanted)


@given(FILTER, TOPIC)
def test_the_allow_list_follows_the_standard(topic_filter: str, topic: str):
    if not topic_filter:
        return
    assert check_filters((topic_filter,)) == (topic_filter,)
    assert may_reply_to(topic, (topic_filter,)) == (topic != "" and matches(topic_filter, topic))


@given(
    payload=st.binary(max_size=200) | st.just(b'{"reply_to":[],"id":{}}'),
    levels=st.text(st.characters(exclude_categories=["Cs"]), max_size=600),
    response=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    retain=st.booleans(),
)
def test_every_message_is_either_taken_or_acknowledged_and_never_raises(
    payload: bytes, levels: str, response: str | None, retain: bool
):
    message = MQTTMessage(1, f"lineside/v1/fault/{levels}".encode())
    message.payload = payload
    message.retain = retain
    message.properties = Properties(PacketTypes.PUBLISH)
    if response is not None:
        message.properties.ResponseTopic = response
    taken: list[Any] = []
    acknowledged: list[bool] = []

    class Parts:
        def count(self, _name: str) -> None:
            """Counts nothing."""

        def accept(self, incoming: Any, _on_stored: Any) -> None:
            taken.append(incoming)

    parts = Parts()
    Intake(parts, parts, ("#",)).take(message, lambda: acknowledged.append(True))
    assert len(taken) + len(acknowledged) == 1
    for incoming in taken:
        assert not incoming.reply_topic.startswith("lineside/v1/fault")
        assert incoming.payload == payload
