import json

import msgspec
import pytest

from lineside.errors import Reason, RejectedError
from lineside.feedback.verdict import MAX_FEEDBACK_BYTES, parse_feedback

SAID = {"diagnosis_id": "D1", "verdict": "wrong", "by": {"badge": "4711", "role": "fitter"}}


def parse(**changes):
    return parse_feedback(json.dumps({**SAID, **changes}).encode())


def test_the_smallest_verdict():
    found = parse()
    assert (found.diagnosis_id, found.verdict, found.by.badge, found.cause) == ("D1", "wrong", "4711", "")
    assert found.by.shown == "4711 (fitter)"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"diagnosis_id": ""}, "diagnosis_id"),
        ({"diagnosis_id": 5}, "diagnosis_id"),
        ({"diagnosis_id": "x" * 65}, "diagnosis_id"),
        ({"verdict": "maybe"}, "verdict"),
        ({"v": 2}, "v"),
        ({"by": {"role": "fitter"}}, "by"),
        ({"by": {"name": "Wang"}}, "by.role"),
        ({"by": {"name": "Wang", "role": " "}}, "by.role"),
        ({"by": {"name": "\u200b", "role": "fitter"}}, "by"),
        ({"by": {"name": "x" * 65, "role": "fitter"}}, "by.name"),
        ({"by": "Wang"}, "by"),
        ({"cause": "x" * 501}, "cause"),
        ({"action": ["x"]}, "action"),
        ({"reply_to": "x" * 513}, "reply_to"),
    ],
)
def test_what_is_wrong_with_it_is_named(changes, field):
    with pytest.raises(RejectedError) as caught:
        parse(**changes)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, field)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"[" * 5000, b"null"])
def test_what_is_no_verdict(payload):
    with pytest.raises(RejectedError) as caught:
        parse_feedback(payload)
    assert caught.value.reason is Reason.INVALID


def test_its_size_is_bounded():
    exact = json.dumps({**SAID, "x": ""}).encode()
    fits = exact.replace(b'"x": ""', b'"x": "' + b"x" * (MAX_FEEDBACK_BYTES - len(exact)) + b'"')
    assert len(fits) == MAX_FEEDBACK_BYTES
    parse_feedback(fits)
    with pytest.raises(RejectedError) as caught:
        parse_feedback(fits + b" ")
    assert caught.value.reason is Reason.TOO_LONG


def test_hostile_text_becomes_one_plain_line():
    found = parse(cause="fan\r\n\x1b[31mred\u202e \u0000stuck ", by={"name": "W\nang", "role": "fitter"})
    assert found.cause == "fan [31mred stuck"
    assert found.by.name == "W ang"


def test_what_is_said_again_has_the_same_id():
    assert parse(cause="fan").feedback_id == parse(cause=" fan ", ts="2026-01-01", id="x").feedback_id
    ids = {parse(**c).feedback_id for c in ({}, {"cause": "a"}, {"action": "a"}, {"verdict": "right"})}
    ids.add(msgspec.structs.replace(parse(), diagnosis_id="D2").feedback_id)
    assert len(ids) == 5
