import time

import pytest
from tests.unit.gateways.gateways_parts import ZONE

from lineside.errors import LinesideError
from lineside.gateways.times import plant_zone, rfc3339

INSTANT = "2026-03-20T06:02:11Z"


@pytest.mark.parametrize(
    "value", [1773986531, 1773986531000, 1773986531000000, 1773986531000000000, "1773986531", 1773986531.0]
)
def test_seconds_and_what_is_finer_since_1970(value):
    assert rfc3339(value, ZONE) == INSTANT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-20 14:02:11", "2026-03-20T14:02:11+08:00"),
        ("2026/3/20 14:02:11.5", "2026-03-20T14:02:11.500+08:00"),
        ("2026-03-20T14:02", "2026-03-20T14:02:00+08:00"),
        ("2026-03-20T06:02:11Z", INSTANT),
        ("2021-06-21T12:38:55.5814091Z", "2021-06-21T12:38:55.581Z"),
        ("2026-03-20T14:02:11,250+0530", "2026-03-20T14:02:11.250+05:30"),
        ("2026-03-20 14:02:11 -08:00", "2026-03-20T14:02:11-08:00"),
    ],
)
def test_written_times_are_the_plants_where_they_have_no_zone(value, expected):
    assert rfc3339(value, ZONE) == expected


def test_a_format_reads_what_else_there_is():
    assert rfc3339("20.03.26 2:02 PM", ZONE, "%d.%m.%y %I:%M %p") == "2026-03-20T14:02:00+08:00"
    assert rfc3339("20.03.2026 08:00 +0100", ZONE, "%d.%m.%Y %H:%M %z") == "2026-03-20T08:00:00+01:00"


def test_summer_and_winter():
    berlin = plant_zone("Europe/Berlin")
    assert rfc3339("2026-01-20 12:00:00", berlin) == "2026-01-20T12:00:00+01:00"
    assert rfc3339("2026-07-20 12:00:00", berlin) == "2026-07-20T12:00:00+02:00"


def test_without_a_name_it_is_the_machines_own_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert plant_zone("") is None
        assert rfc3339("2026-03-20 14:02:11", None) == "2026-03-20T14:02:11+09:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "value",
    [
        *(True, None, [], "", "noon", -1, 1e30, float("nan"), "9" * 21),
        *("2026-13-20 14:02:11", "2026-03-20 25:00", "2026-03-20 14:02:11+99:00"),
    ],
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        rfc3339(value, ZONE)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b", "Asia"])
def test_a_zone_that_is_unknown_is_named(name):
    with pytest.raises(LinesideError, match=r"\[plant\] timezone"):
        plant_zone(name)


def test_a_format_that_names_a_directive_twice_is_refused():
    with pytest.raises(ValueError, match="is no format of times"):
        rfc3339("12 12", ZONE, "%M %M")
