"""Diagnoses that were given and verdicts on them, as short as they can be said."""

from tests.unit.diagnosis.diagnosis_builders import report

from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis
from lineside.feedback.store import Issued
from lineside.feedback.verdict import Feedback, Person

FITTER = Person(name="Wang", role="fitter")


def issued(diagnosis_id="D1", *, entries=("drive:unit:F012",), status="ok", lang="en", **fields):
    asked = fields.pop("report", None) or report(**fields)
    diagnosis = Diagnosis(
        id="",
        diagnosis_id=diagnosis_id,
        dev=DeviceRef(id=asked.dev.id),
        alarm=AlarmRef(code=asked.alarm.code),
        received_at="2026-03-01T00:00:00.000Z",
        status=status,
        mode="rules",
        severity="high",
        lang=lang,
        meaning="Motor overtemperature",
        kb="1-abc",
    )
    return Issued(report=asked, diagnosis=diagnosis, entries=entries)


def feedback(diagnosis_id="D1", verdict="wrong", *, by=FITTER, **fields):
    return Feedback(diagnosis_id=diagnosis_id, verdict=verdict, by=by, **fields)
