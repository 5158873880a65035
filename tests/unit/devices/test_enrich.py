import pytest

from lineside.devices.enrich import enriched, with_device
from lineside.devices.registry import Bit, Device, Registry, Tag
from lineside.diagnosis.answers import error_diagnosis
from lineside.diagnosis.evidence import sensor_evidence
from lineside.diagnosis.report import parse_report
from lineside.errors import Reason, RejectedError

REGISTRY = Registry(
    devices=(
        Device(
            id="L1/CD-07",
            vendor="Acme",
            model="CD-40",
            unit="drive",
            fw="2.1",
            code_base="hex",
            language="zh",
        ),
        Device(id="L1/*", vendor="Line one", location="Hall 1"),
    ),
    tags=(
        Tag(tag="DB10.temp", device="L1/CD-07", name="motor temperature", unit="Cel", scale=0.1, hi=65.0),
        Tag(tag='"DB10".Level', device="L1/*", unit="mm", scale=-2.0, offset=10.0, lo=1.0),
    ),
    bits=(
        Bit(word="Alarms.Word1", bit=3, code="F012", text="Motor too hot", device="L1/CD-07"),
        Bit(word="Alarms.Word1", bit=3, code="X3"),
    ),
)


def report(alarm, device="L1/CD-07", **fields):
    import json

    return parse_report(json.dumps({"dev": {"id": device}, "alarm": alarm, **fields}).encode())


def test_a_plc_that_sends_a_bit_alone_gets_all_the_rest():
    found = enriched(report({"word": "alarms.word1", "bit": 3}), REGISTRY)
    assert (found.alarm.code, found.alarm.text) == ("F012", "Motor too hot")
    assert (found.dev.vendor, found.dev.model, found.dev.unit, found.dev.fw) == (
        "Acme",
        "CD-40",
        "drive",
        "2.1",
    )
    assert (found.dev.code_base, found.locale) == ("hex", "zh")


def test_what_the_report_says_wins():
    said = report({"code": "9", "word": "Alarms.Word1", "bit": 3, "text": "t"}, locale="en")
    said = enriched(said, REGISTRY)
    assert (said.alarm.code, said.alarm.text, said.locale) == ("9", "t", "en")


def test_a_group_of_devices_and_the_whole_plant():
    assert REGISTRY.device("L1/R9").vendor == "Line one"
    assert REGISTRY.device("L2/R9") is None
    assert enriched(report({"word": "Alarms.Word1", "bit": 3}, "L2/x"), REGISTRY).alarm.code == "X3"


def test_a_bit_that_nobody_has_mapped_is_a_code_by_itself():
    assert enriched(report({"word": " W9 ", "bit": 0}), REGISTRY).alarm.code == "W9.0"
    assert enriched(report({"word": "W9", "bit": 0}), Registry()).alarm.code == "W9.0"


def test_readings_get_name_unit_and_limits():
    said = report({"code": "1"}, values=[{"n": "db10.TEMP", "v": 712}])
    found = enriched(said, REGISTRY)
    (value,) = found.values
    assert (value.n, value.u, value.hi) == ("motor temperature", "Cel", 65.0)
    assert value.v == pytest.approx(71.2)
    assert "motor temperature" in sensor_evidence(found, "en")[0].quote
    assert sensor_evidence(said, "en") == ()


def test_a_reading_with_a_unit_is_scaled_no_more():
    values = [
        {"n": "DB10.temp", "v": 71.2, "u": "Cel", "hi": 80},
        {"n": "DB10.temp", "v": 160, "u": "[degF]"},
    ]
    first, second = enriched(report({"code": "1"}, values=values), REGISTRY).values
    assert (first.v, first.hi) == (71.2, 80)
    assert (second.v, second.hi) == (160, None)


def test_windows_are_scaled_with_their_slope():
    stats = {"min": 1, "max": 4, "mean": 2, "last": 3, "slope": 0.5}
    window = enriched(report({"code": "1"}, win=[{"n": "DB10.Level", "stats": stats}]), REGISTRY).win[0]
    assert (window.stats.min, window.stats.max, window.stats.last, window.stats.slope) == (
        2.0,
        8.0,
        4.0,
        -1.0,
    )
    assert window.stats.mean == 6.0


def test_unknown_tags_stay():
    said = report({"code": "1"}, values=[{"n": "x", "v": 1}], win=[{"n": "y", "stats": {"min": 1}}])
    found = enriched(said, REGISTRY)
    assert (found.values, found.win) == (said.values, said.win)


def test_an_empty_registry_changes_nothing():
    said = report({"code": "1"}, values=[{"n": "x", "v": 1}])
    assert enriched(said, Registry()) == said


def test_the_devices_own_safety_notes_come_first():
    answer = error_diagnosis(RejectedError(Reason.INTERNAL, "x"), device="L1/CD-07")
    device = Device(id="L1/CD-07", location="Hall 1", safety=("Two supplies.", *answer.safety))
    found = with_device(answer, device)
    assert found.safety == ("Two supplies.", *answer.safety)
    assert found.dev.location == "Hall 1"


@pytest.mark.parametrize(
    ("alarm", "field"),
    [
        ({"word": "W"}, "alarm.bit"),
        ({"bit": 3}, "alarm"),
        ({"word": " ", "bit": 3}, "alarm"),
        ({"word": "W", "bit": 64}, "alarm.bit"),
    ],
)
def test_a_word_comes_with_a_bit(alarm, field):
    with pytest.raises(RejectedError) as caught:
        report(alarm)
    assert caught.value.field == field
