"""What comes out of a message, and what its sender hears where it does not fit."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateways.gateways_parts import gateways, reports, simple

from lineside.diagnosis.report import parse_report
from lineside.errors import RejectedError

CODE = 'alarm.code = "/code"'


@pytest.mark.parametrize(
    ("source", "payload", "value"),
    [
        ('"/code"', {"code": "F012"}, "F012"),
        ('"/code"', {"code": 12}, "12"),
        ('"/code"', {"code": 12.0}, "12"),
        ('"/code"', {"code": 1.5}, "1.5"),
        ('"/code"', {"code": "F012\0\0 "}, "F012"),
        ('{ at = "/code", prefix = "F", digits = 3 }', {"code": 12}, "F012"),
        ('{ at = "/code", map = { "12" = "F012" } }', {"code": 12}, "F012"),
        ('{ at = "/code", map = { "true" = "on", "*" = "other" } }', {"code": True}, "on"),
        ('{ at = "/code", map = { "null" = "none" } }', {"code": None}, "none"),
        ('{ at = "/code", map = { "a" = "b", "*" = "other" } }', {"code": "z"}, "other"),
        ('{ const = "F012" }', {}, "F012"),
        ("12", {}, "12"),
        ('{ topic = "{3}-{2..}" }', {}, "M1-L1/M1"),
    ],
)
def test_a_code(tmp_path, source, payload, value):
    (report,) = reports(tmp_path, simple(f"alarm.code = {source}"), payload)
    assert report == {"dev": {"id": "L1/M1"}, "alarm": {"code": value}}


@pytest.mark.parametrize(
    ("mapping", "payload", "field", "message"),
    [
        (CODE, {}, "alarm.code", "nothing is at `/code`"),
        (CODE, {"code": None}, "alarm.code", "missing"),
        (CODE, {"code": True}, "alarm.code", "is true or false"),
        (CODE, {"code": [1]}, "alarm.code", "an array or an object"),
        ('alarm.code = { at = "/code", digits = 3 }', {"code": "X1"}, "alarm.code", "no digits"),
        ('alarm.code = { at = "/code", map = { a = "b" } }', {"code": "c"}, "alarm.code", "no entry for"),
        (CODE + '\nalarm.sev = "/sev"', {"code": 1, "sev": "high"}, "alarm.sev", "whole number"),
        (CODE + '\nalarm.sev = "/sev"', {"code": 1, "sev": 1.5}, "alarm.sev", "whole number"),
        (CODE + '\nts = "/t"', {"code": 1, "t": "yesterday"}, "ts", "is no time"),
        (CODE + '\nlog = "/log"', {"code": 1, "log": [{}]}, "log", "an array or an object"),
        (CODE + '\ndev.id = "/dev"', {"code": 1, "dev": "x" * 129}, "dev.id", "129 characters"),
        (CODE + '\ndev.id = "/dev"', {"code": 1}, "dev.id", "missing"),
        (CODE, b"{", "", "not usable JSON"),
        (CODE, b"\xff\xff", "", "neither UTF-8 nor GB18030"),
        (CODE, b"[" * 100_000, "", "not usable JSON"),
        (CODE, b" " * 262_145, "", "at most 262144"),
    ],
)
def test_what_does_not_fit_is_answered_with_the_field(tmp_path, mapping, payload, field, message):
    ((named, said),) = reports(tmp_path, simple(mapping), payload)
    assert named == field
    assert message in said


def test_what_is_optional_is_left_out_where_it_is_missing_or_cannot_be_read(tmp_path):
    mapping = simple(
        CODE + '\nts = { at = "/t", optional = true }\nalarm.sev = { at = "/s", optional = true }'
    )
    (report,) = reports(tmp_path, mapping, {"code": 1, "t": "0000-00-00 00:00:00"})
    assert report == {"dev": {"id": "L1/M1"}, "alarm": {"code": "1"}}


def test_numbers_times_and_lines(tmp_path):
    mapping = simple(CODE + '\nalarm.sev = "/s"\nalarm.since = "/t"\nts = "/e"\nlog = "/l"')
    payload = {"code": 1, "s": "700", "t": "2026-03-20 14:02:11", "e": 1773986531, "l": list(range(25))}
    (report,) = reports(tmp_path, mapping, payload)
    assert report["alarm"] == {"code": "1", "sev": 700, "since": "2026-03-20T14:02:11+08:00"}
    assert report["ts"] == "2026-03-20T06:02:11Z"
    assert report["log"] == [str(line) for line in range(5, 25)]


def test_the_topic_names_the_device_and_the_payload_must_agree(tmp_path):
    mapping = simple(CODE + '\ndev.id = "/dev"', 'device = "{2}/{3}"')
    assert reports(tmp_path, mapping, {"code": 1, "dev": "L1/M1"})[0]["dev"] == {"id": "L1/M1"}
    ((field, message),) = reports(tmp_path, mapping, {"code": 1, "dev": "L1/M2"})
    assert field == "dev.id"
    assert "'L1/M2'" in message
    assert "'L1/M1'" in message


def test_without_a_template_the_payload_alone_names_it(tmp_path):
    mapping = simple(CODE + '\ndev.id = "/dev"')
    assert reports(tmp_path, mapping, {"code": 1, "dev": 7})[0]["dev"] == {"id": "7"}


def test_a_topic_too_short_for_the_template_is_answered(tmp_path):
    mapping = simple(CODE, 'device = "{4}"').replace("g/+/+", "g/#")
    ((field, message),) = reports(tmp_path, mapping, {"code": 1}, "g/a")
    assert (field, "0 characters" in message) == ("dev.id", True)


EACH = 'each = "/alarms"'


def test_an_array_is_as_many_reports_and_one_bad_alarm_spoils_no_other(tmp_path):
    mapping = simple(CODE + '\nid = { top = "/id" }', EACH)
    payload = {"id": "m", "alarms": [{"code": 1}, {"kode": 2}, {"code": 3}]}
    first, second, third = reports(tmp_path, mapping, payload)
    assert (first["alarm"]["code"], third["alarm"]["code"]) == ("1", "3")
    assert first["id"] == third["id"] == "m"
    assert second[0] == "alarm.code"


def test_the_array_has_a_bound(tmp_path):
    mapping = simple(CODE, EACH)
    assert len(reports(tmp_path, mapping, {"alarms": [{"code": 1}] * 64})) == 64
    assert reports(tmp_path, mapping, {"alarms": []}) == []
    ((field, message),) = reports(tmp_path, mapping, {"alarms": [{"code": 1}] * 65})
    assert (field, "at most 64" in message) == ("each", True)
    ((field, message),) = reports(tmp_path, mapping, {"alarms": {}})
    assert (field, "no array" in message) == ("each", True)


BITS = simple('alarm.word = { const = "AlmW1" }\nalarm.bit = ""\nts = { top = "/t" }', 'each_bit = "/v/w"')


@pytest.mark.parametrize(
    ("word", "bits"),
    [(0, []), (1, [0]), (0b1001, [0, 3]), (1 << 63, [63]), (None, []), ((1 << 64) - 1, range(64))],
)
def test_an_alarm_word_is_as_many_reports_as_bits_are_set(tmp_path, word, bits):
    found = reports(tmp_path, BITS, {"t": 1773986531, "v": {"w": word}})
    assert [one["alarm"] for one in found] == [{"word": "AlmW1", "bit": bit} for bit in bits]
    assert all(parse_report(json.dumps(one).encode()) for one in found)


@pytest.mark.parametrize("word", [-1, 1 << 64, "x", True, 1.5, [1]])
def test_what_is_no_alarm_word_is_answered(tmp_path, word):
    ((field, message),) = reports(tmp_path, BITS, {"t": 1773986531, "v": {"w": word}})
    assert (field, "as unsigned" in message) == ("each_bit", True)


def test_a_word_that_is_not_there_is_no_alarm(tmp_path):
    assert reports(tmp_path, BITS, {"t": 1773986531}) == []


def test_what_is_refused_still_finds_its_way_back(tmp_path):
    mapping = simple(CODE + '\nid = "/id"\nreply_to = "/to"')
    payload = json.dumps({"id": "r-1", "to": "response/x"}).encode()
    (mapped,) = gateways(tmp_path, mapping).read("g/L1/M1", payload)
    assert mapped.refusal.field == "alarm.code"
    assert (mapped.request_id, mapped.reply_to) == ("r-1", "response/x")
    (mapped,) = gateways(tmp_path, mapping).read("g/L1/M1", payload.replace(b"r-1", b"r" * 129))
    assert mapped.request_id == ""


def test_what_is_no_alarm_is_ignored(tmp_path):
    mapping = simple(CODE, 'ignore = [{ at = "/code", equals = [0, "", false], missing = true }]')
    for payload in ({"code": 0}, {"code": "0\0"}, {"code": ""}, {"code": False}, {"code": None}, {}):
        assert reports(tmp_path, mapping, payload) == []
    assert len(reports(tmp_path, mapping, {"code": 1})) == 1


def test_readings_by_name_are_left_out_where_there_is_no_number(tmp_path):
    mapping = simple(
        CODE + '\n[mapping.values]\na = "/v/a"\nb = { at = "/v/b", u = "Cel", hi = 5, lo = 0 }\nc = "/v/c"'
    )
    payload = {"code": 1, "v": {"a": "1.5", "b": 7, "c": "auto"}}
    (report,) = reports(tmp_path, mapping, payload)
    assert report["values"] == [{"n": "a", "v": 1.5}, {"n": "b", "v": 7, "u": "Cel", "hi": 5.0, "lo": 0.0}]


@pytest.mark.parametrize(
    ("at", "values"),
    [
        ("/object", {"object": {"a": 1, "b": True, "c": "x", "d": "2"}}),
        (
            "/array",
            {"array": [{"name": "a", "value": 1}, {"name": "b", "error": 1}, 7, {"name": "d", "value": 2}]},
        ),
    ],
)
def test_every_number_of_an_object_or_an_array(tmp_path, at, values):
    mapping = simple(CODE + f'\n[mapping.all_values]\nat = "{at}"')
    (report,) = reports(tmp_path, mapping, {"code": 1, **values})
    assert report["values"] == [{"n": "a", "v": 1}, {"n": "d", "v": 2}]


def test_readings_have_the_reports_bound(tmp_path):
    mapping = simple(CODE + '\n[mapping.all_values]\nat = "/v"')
    (report,) = reports(tmp_path, mapping, {"code": 1, "v": {str(n): n for n in range(100)}})
    assert len(report["values"]) == 64
    assert parse_report(json.dumps(report).encode())


@pytest.mark.parametrize(
    ("payload", "more", "code", "expected"),
    [
        (b"F012\0\0", "", '""', "F012"),
        ("\ufeff故障12\r\n".encode(), "", '""', "故障12"),
        ("故障12".encode("gb18030"), "", '""', "故障12"),
        (b"x; F012 ;y", 'separator = ";"', '"/1"', "F012"),
    ],
)
def test_plain_text(tmp_path, payload, more, code, expected):
    (report,) = reports(tmp_path, simple(f"alarm.code = {code}", f'format = "text"\n{more}'), payload)
    assert report["alarm"] == {"code": expected}


def test_a_report_of_our_own_schema_on_a_topic_of_the_plants(tmp_path):
    mapping = '[[mapping]]\ntopic = "g/+/+"\nformat = "report"\neach = ""\n'
    both = reports(
        tmp_path, mapping, [{"alarm": {"code": 7}}, {"alarm": {"code": "F"}, "dev": {"id": "L1/M1"}}]
    )
    assert [(one["dev"]["id"], one["alarm"]["code"]) for one in both] == [("L1/M1", "7"), ("L1/M1", "F")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e308, 1e308) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
ALL = """
[[mapping]]
topic = "g/#"
each = "/a"
ignore = [{ at = "/d", equals = [0] }]
[mapping.report]
dev.id = { at = "/b", optional = true }
alarm.code = "/c"
alarm.sev = { at = "/d", optional = true }
ts = "/b"
log = { top = "/d", optional = true }
[mapping.all_values]
top = "/c"
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return gateways(tmp_path_factory.mktemp("mapping"), ALL)


@given(
    payload=JSON.map(lambda one: json.dumps(one).encode()) | st.binary(max_size=50), topic=st.text(max_size=9)
)
def test_whatever_comes_is_a_report_or_a_refusal(everything, payload, topic):
    for mapped in everything.read(f"g/{topic}", payload):
        assert len(mapped.device) <= 128
        if mapped.refusal is None:
            try:
                assert parse_report(mapped.payload).dev.id == mapped.device
            except RejectedError as refusal:
                assert refusal.field or refusal.message


@pytest.mark.parametrize("payload", ['{"code": %s}', '{"code": 1, "sev": %s}', '{"code": 1, "x": %s}'])
def test_every_nesting_is_a_report_or_a_refusal(tmp_path, payload):
    mapping = gateways(tmp_path, simple(f'{CODE}\nalarm.text = {{ at = "/sev", map = {{ "*" = "x" }} }}'))
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 10):
        nested = payload % ("[" * depth + "]" * depth)
        (report,) = mapping.read("g/L1/M1", nested.encode())
        assert report.refusal is None or report.refusal.reason.value == "invalid"
