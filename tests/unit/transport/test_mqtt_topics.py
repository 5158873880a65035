from __future__ import annotations

import pytest

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.transport.mqtt.backoff import Backoff
from lineside.transport.mqtt.topics import (
    check_filters,
    decode_device,
    default_reply,
    device_levels,
    encode_device,
    is_feedback,
    may_reply_to,
    status_topic,
)


def test_a_device_is_the_levels_after_the_verb():
    assert device_levels("lineside/v1/fault/line1/press-7") == "line1/press-7"
    assert device_levels("lineside/v1/fault/") == ""
    assert device_levels("lineside/v1/fault") == ""


def test_an_answer_goes_where_the_fault_came_from():
    assert default_reply("lineside/v1/fault/line1/a%2Bb") == "lineside/v1/diagnosis/line1/a%2Bb"
    assert default_reply("lineside/v1/fault") == "lineside/v1/diagnosis"


@pytest.mark.parametrize(
    ("device", "levels"),
    [
        ("press 7", "press 7"),
        ("a/b", "a/b"),
        ("a+b#c", "a%2Bb%23c"),
        ("50%", "50%25"),
        ("a\0b\x1f", "a%00b%1F"),
        ("液压机", "液压机"),
        ("\ufeffx", "%EF%BB%BFx"),
    ],
)
def test_what_a_topic_may_not_hold_is_escaped(device: str, levels: str):
    assert encode_device(device) == levels
    assert decode_device(levels) == device


@pytest.mark.parametrize("levels", ["100%", "%zz", "%FF"])
def test_a_percent_sign_that_escapes_nothing_is_itself(levels: str):
    assert decode_device(levels) == levels


def test_the_status_topic_is_safe():
    assert status_topic("line/side") == "lineside/v1/status/line/side"
    assert status_topic("a+") == "lineside/v1/status/a%2B"


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("lineside/v1/diagnosis/x", False),
        ("lineside/reply/a/b", True),
        ("response", True),
        ("response/a", True),
        ("responses/a", False),
        ("elsewhere", False),
        ("", False),
        ("response/+", False),
        ("response/#", False),
        ("response/a\0", False),
        ("response/" + "x" * 1024, False),
        ("lineside/v1/fault/x", False),
    ],
)
def test_answers_go_only_where_the_configuration_allows(topic: str, allowed: bool):
    assert may_reply_to(topic, MqttConfig().reply_topics) is allowed


@pytest.mark.parametrize(
    "topic",
    [
        "lineside/v1/fault",
        "lineside/v1/fault/a",
        "lineside/v1/status/lineside",
        "lineside/v1/diagnosis/x",
        "lineside/v1/brief/x",
        "lineside/v1/power/set/a",
        "$SYS/x",
    ],
)
def test_no_configuration_lets_answers_into_our_own_trees(topic: str):
    assert not may_reply_to(topic, ("#",))


def test_a_plus_stands_for_one_level():
    assert may_reply_to("plc/7/in", ("plc/+/in",))
    assert not may_reply_to("plc/7/8/in", ("plc/+/in",))


@pytest.mark.parametrize("bad", ["", "a/#/b", "a#", "a+/b", "a\0"])
def test_a_filter_that_is_none_is_named(bad: str):
    with pytest.raises(LinesideError) as caught:
        check_filters(("ok/#", bad))
    assert repr(bad) in caught.value.message
    assert "reply_topics" in caught.value.message


def test_backoff_doubles_with_jitter_up_to_its_bound():
    backoff = Backoff(first_s=1, most_s=8)
    waits = [backoff.next_s() for _ in range(6)]
    for wait, whole in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert whole / 2 <= wait <= whole
    backoff.reset()
    assert backoff.next_s() <= 1
    assert len(set(waits)) > 1


def test_verdicts_have_topics_of_their_own():
    assert is_feedback("lineside/v1/feedback/line1/press-7")
    assert is_feedback("lineside/v1/feedback")
    assert not is_feedback("lineside/v1/fault/feedback")
    assert device_levels("lineside/v1/feedback/line1/press-7") == "line1/press-7"
    assert default_reply("lineside/v1/feedback/line1/press-7") == "lineside/v1/receipt/line1/press-7"
    assert default_reply("lineside/v1/feedback") == "lineside/v1/receipt"
    assert not may_reply_to("lineside/v1/feedback/x", ("#",))
