import pytest
from tests.unit.diagnosis.diagnosis_builders import report

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.order import moment_of, order_evidence
from lineside.diagnosis.report import Alarm, Device, Report


def order(*lines, since="", language="en"):
    asked = Report(dev=Device(id="x"), alarm=Alarm(code="1", since=since), log=lines)
    logs = [Evidence(ref=f"L{n}", kind="log", src=f"log:{n}", quote="") for n in range(1, len(lines) + 1)]
    return [one.quote for one in order_evidence(asked, logs, language)]


def test_lines_are_placed_around_the_alarm_by_their_times():
    lines = ("10:42:13 stopped", "09:57:08 warm", "10:42:12.000 F012", "2026-03-09 10:42:10 hot")
    assert order(*lines, since="2026-03-09T10:42:12+08:00") == [
        "Order of events: L2 45 min before the alarm, L4 2 s before the alarm, L3 with the alarm, "
        "L1 1 s after the alarm."
    ]
    assert order(lines[0], since="2026-03-09T10:42:12+08:00", language="zh") == [
        "事件先后：L1 在报警后 1 秒。"
    ]


def test_without_the_alarms_time_they_are_placed_after_the_first():
    assert order("08:00:05 b", "08:00:00 a") == ["Order of events: L2 first, L1 5 s later."]
    assert order("08:00:00.250 b", "x", "08:00:00 a", language="zh") == [
        "事件先后：L3 最先，L1 在其后 0.25 秒。"
    ]


def test_midnight_is_passed_the_shorter_way():
    assert order("00:00:30 b", "23:59:30 a") == ["Order of events: L2 first, L1 60 s later."]
    assert order("2026-03-09 00:00:30 b", "2026-03-01 23:59:30 a") == [
        "Order of events: L2 first, L1 168 h later."
    ]


@pytest.mark.parametrize("lines", [(), ("08:00:00 a",), ("a", "b"), ("08:00:00 a", "b")])
def test_too_few_times_make_no_order(lines):
    assert order(*lines) == []


@pytest.mark.parametrize(
    "text", ["", "25:00:00", "12:60:00", "1:2:3", "00:11:22:33:44:55", "2026-13-45 10:00:00", "ratio 10:00"]
)
def test_what_is_no_time(text):
    assert moment_of(text) is None


def test_a_report_without_logs_has_no_order():
    assert order_evidence(report(), (), "en") == ()
