"""Complete diagnoses: the answer with everything about the exchange around it. Knows not how it was found."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

import msgspec

from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis, Group
from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.report import Report, event_of
from lineside.diagnosis.rules import UNKNOWN_SEVERITY, Answer, severity_floor
from lineside.errors import Reason, RejectedError
from lineside.telemetry.clock import synchronised

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MAX_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Clock:
    """The times that answers carry. `synced` tells whether the wall clock can be trusted."""

    wall_s: Callable[[], float] = time.time
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    synced: Callable[[], bool] = synchronised

    def now(self) -> str:
        """RFC 3339, in UTC."""
        instant = datetime.fromtimestamp(self.wall_s(), timezone.utc)
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def ulid(self) -> str:
        """An id that sorts by time."""
        number = int(self.wall_s() * 1000) << 80 | secrets.randbits(80)
        return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, slots=True)
class Frame:
    """What a diagnosis says about its making."""

    received_at: str
    language: Language
    kb: str
    mode: Literal["model", "rules"] = "rules"
    model: str = ""
    message: str = ""
    energy_j: float | None = None


def language_of(locale: str, default: Language) -> Language:
    """zh for any Chinese, en for any other; the plant's where the report names none."""
    if not locale.strip():
        return default
    return "zh" if locale.strip().casefold().startswith("zh") else "en"


def diagnosis_of(
    report: Report, answer: Answer, frame: Frame, timings: Mapping[str, float | None], clock: Clock
) -> Diagnosis:
    """The answer as it is sent."""
    return Diagnosis(
        id=report.id or report.request_id,
        diagnosis_id=clock.ulid(),
        dev=DeviceRef(id=report.dev.id),
        alarm=AlarmRef(code=report.alarm.code, count=report.alarm.count),
        received_at=frame.received_at,
        time_quality="synced" if clock.synced() else "unsynced",
        status=answer.status,
        reason="" if answer.reason is None else answer.reason.value,
        message=frame.message[:MAX_MESSAGE],
        mode=frame.mode,
        severity=answer.severity,
        lang=frame.language,
        safety=answer.safety,
        meaning=answer.meaning,
        causes=answer.causes,
        checks=answer.checks,
        evidence=answer.evidence,
        conf=answer.conf,
        wo=answer.wo,
        model=frame.model,
        kb=frame.kb,
        timings=dict(timings),
        energy_j=frame.energy_j,
    )


def listed_diagnosis(
    report: Report, group: Group, language: Language = "en", clock: Clock | None = None
) -> Diagnosis:
    """The answer to an alarm that came together with others, of which the first out is diagnosed."""
    language = language_of(report.locale, language)
    answer: Diagnosis = msgspec.structs.replace(
        _undiagnosed(report, language, clock or Clock()),
        status="abstain",
        reason=Reason.GROUPED.value,
        severity=severity_floor(report, []),
        meaning=phrase("listed", language, alarm=group.first.alarm, device=group.first.dev),
        group=group,
    )
    return answer


def noted_diagnosis(report: Report, language: Language = "en", clock: Clock | None = None) -> Diagnosis:
    """The answer to a report that an alarm has gone, or was acknowledged: there is nothing to find out."""
    language = language_of(report.locale, language)
    plain = _undiagnosed(report, language, clock or Clock())
    answer: Diagnosis = msgspec.structs.replace(plain, meaning=phrase(event_of(report), language))
    return answer


def _undiagnosed(report: Report, language: Language, clock: Clock) -> Diagnosis:
    """What all answers have that nothing was looked up for."""
    return Diagnosis(
        id=report.id or report.request_id,
        diagnosis_id=clock.ulid(),
        dev=DeviceRef(id=report.dev.id),
        alarm=AlarmRef(code=report.alarm.code, count=report.alarm.count),
        received_at=clock.now(),
        time_quality="synced" if clock.synced() else "unsynced",
        status="ok",
        mode="rules",
        severity="low",
        lang=language,
        safety=(phrase("safety", language),),
    )


def error_diagnosis(  # noqa: PLR0913 all but the first have defaults and names
    refusal: RejectedError,
    *,
    device: str,
    report: Report | None = None,
    request_id: str = "",
    language: Language = "en",
    clock: Clock | None = None,
) -> Diagnosis:
    """The answer to a report that cannot be answered, or cannot even be read (`report` None)."""
    clock = clock or Clock()
    if report is not None:
        request_id = request_id or report.id or report.request_id
        language = language_of(report.locale, language)
    return Diagnosis(
        id=request_id,
        diagnosis_id=clock.ulid(),
        dev=DeviceRef(id=device),
        alarm=AlarmRef() if report is None else AlarmRef(code=report.alarm.code, count=report.alarm.count),
        received_at=clock.now(),
        time_quality="synced" if clock.synced() else "unsynced",
        status="error",
        reason=refusal.reason.value,
        message=refusal.message[:MAX_MESSAGE],
        field=refusal.field,
        retry_after_ms=refusal.retry_after_ms,
        mode="rules",
        severity=UNKNOWN_SEVERITY if report is None else severity_floor(report, []),
        lang=language,
        safety=(phrase("safety", language),),
        meaning=phrase("error", language),
    )
