import json

import pytest
from tests.unit.gateways.gateways_parts import ZONE

from lineside.gateways.own import own_report


def document(payload, named="L1/M1"):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    mapped = own_report(raw, named, ZONE)
    return mapped.device, json.loads(mapped.payload)


def test_the_topic_names_the_device_of_a_report_that_does_not():
    assert document({"alarm": {"code": "F"}}) == ("L1/M1", {"alarm": {"code": "F"}, "dev": {"id": "L1/M1"}})
    assert document({"dev": {"fw": "2"}})[1]["dev"] == {"fw": "2", "id": "L1/M1"}


def test_what_the_report_says_stays_for_its_parser_to_compare():
    device, report = document({"dev": {"id": "other"}})
    assert (device, report["dev"]["id"]) == ("L1/M1", "other")


def test_a_topic_that_names_none_leaves_it_to_the_report():
    assert document({"dev": {"id": "other"}}, "")[0] == "other"


@pytest.mark.parametrize(
    ("code", "expected"), [(17, "17"), ("F\0\0", "F"), (True, True), (None, None), (1.5, 1.5)]
)
def test_numeric_codes_and_padding(code, expected):
    assert document({"alarm": {"code": code}})[1]["alarm"]["code"] == expected


def test_times_without_a_zone_are_the_plants_and_what_is_no_time_stays():
    report = document({"ts": "2026-03-20 14:02:11", "alarm": {"since": "noon"}})[1]
    assert (report["ts"], report["alarm"]["since"]) == ("2026-03-20T14:02:11+08:00", "noon")


@pytest.mark.parametrize("payload", [b"[]", b"7", b'{"dev":7,"alarm":[]}', b" " * 65_537])
def test_what_is_no_report_is_left_to_its_parser(payload):
    mapped = own_report(payload, "L1/M1", ZONE)
    assert mapped.refusal is None
    assert mapped.device == "L1/M1"


def test_what_is_no_text_is_refused_here():
    assert own_report(b"\xff\xff", "L1/M1", ZONE).refusal is not None


def test_padding_is_taken_away_as_deep_as_a_report_goes():
    deep = {"a": [{"b": {"c": ["x\0"]}}]}
    assert document(deep)[1]["a"] == [{"b": {"c": ["x"]}}]
    assert document(b'{"a":' * 500 + b"1" + b"}" * 500)[0] == "L1/M1"
