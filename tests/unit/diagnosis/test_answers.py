import json
import re

import msgspec
import pytest
from tests.unit.diagnosis.diagnosis_builders import report

from lineside.diagnosis.answers import Clock, error_diagnosis, language_of
from lineside.diagnosis.diagnosis import Diagnosis, encode_diagnosis
from lineside.diagnosis.report import Report
from lineside.diagnosis.schemas import json_schemas
from lineside.errors import Reason, RejectedError


@pytest.mark.parametrize(
    ("locale", "default", "expected"),
    [
        ("zh-CN", "en", "zh"),
        ("ZH", "en", "zh"),
        ("en-US", "zh", "en"),
        ("de", "zh", "en"),
        ("", "zh", "zh"),
        (" ", "en", "en"),
    ],
)
def test_the_language_of_an_answer(locale, default, expected):
    assert language_of(locale, default) == expected


def test_ulids_sort_by_time_and_differ():
    first, second = Clock(wall_s=lambda: 1_700_000_000.0), Clock(wall_s=lambda: 1_700_000_000.001)
    ids = [first.ulid(), second.ulid()]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", one) for one in ids)
    assert len({first.ulid() for _ in range(100)}) == 100
    assert first.ulid()[:10] == "01HF7YAT00"


def test_the_time_is_rfc_3339_in_utc():
    assert Clock(wall_s=lambda: 1_700_000_000.25).now() == "2023-11-14T22:13:20.250Z"


def test_an_error_for_a_report_that_could_not_be_read():
    refusal = RejectedError(Reason.INVALID, "m" * 900, field="alarm.sev", retry_after_ms=7)
    found = error_diagnosis(refusal, device="L1", request_id="r1")
    assert (found.status, found.reason, found.field, found.retry_after_ms) == (
        "error",
        "invalid",
        "alarm.sev",
        7,
    )
    assert (found.id, found.dev.id, len(found.message)) == ("r1", "L1", 500)
    assert (found.causes, found.checks, found.evidence, found.wo) == ((), (), (), None)
    assert found.safety != ()
    assert msgspec.json.decode(encode_diagnosis(found), type=Diagnosis) == found


def test_an_error_for_a_known_report_speaks_its_language_and_keeps_its_severity():
    known = report(locale="zh-CN", sev=900, id="a")
    found = error_diagnosis(RejectedError(Reason.EXPIRED, "late"), device="L1", report=known)
    assert (found.lang, found.severity, found.id, found.alarm.code) == ("zh", "critical", "a", "F012")


def test_a_synced_clock_says_so():
    refusal = RejectedError(Reason.EXPIRED, "late")
    assert error_diagnosis(refusal, device="d", clock=Clock(synced=lambda: True)).time_quality == "synced"


def test_the_published_schemas_are_of_report_and_diagnosis():
    schemas = json_schemas()
    assert set(schemas) == {"report", "diagnosis", "brief", "feedback", "receipt"}
    for name, kind in (("report", Report), ("diagnosis", Diagnosis)):
        assert schemas[name]["$schema"].endswith("2020-12/schema")
        definition = schemas[name]["$defs"][kind.__name__]
        assert set(definition["properties"]) == {field.encode_name for field in msgspec.structs.fields(kind)}
    assert json.loads(json.dumps(schemas)) == schemas
