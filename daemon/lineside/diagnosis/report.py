"""The fault report as devices send it. Knows nothing of how it arrived or what becomes of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from lineside.errors import Reason, RejectedError
from lineside.serving.request import Priority

MAX_REPORT_BYTES = 65_536
MAX_DEVICE_ID = 128

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE_ID)]
Short = Annotated[str, msgspec.Meta(max_length=128)]
Line = Annotated[str, msgspec.Meta(max_length=1000)]
Instant = Annotated[str, msgspec.Meta(max_length=40, description="RFC 3339; shown, never trusted")]
Severity = Annotated[int, msgspec.Meta(ge=1, le=1000, description="OPC UA severity")]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that reports."""

    id: Id
    type: Short = ""
    vendor: Short = ""
    model: Short = ""
    unit: Annotated[str, msgspec.Meta(max_length=128, description="controller or module the code is of")] = ""
    fw: Short = ""
    code_base: Annotated[
        Literal["", "dec", "hex", "any"], msgspec.Meta(description="how bare digits of a code are read")
    ] = ""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """What it reports: a code, a text, or both; or a bit of an alarm word, for the registry to look up."""

    code: Annotated[str, msgspec.Meta(max_length=64)] = ""
    text: Line = ""
    word: Annotated[str, msgspec.Meta(max_length=60, description="alarm word or its tag, with `bit`")] = ""
    bit: Annotated[int, msgspec.Meta(ge=0, le=63)] | None = None
    sev: Severity | None = None
    state: Annotated[str, msgspec.Meta(max_length=32, description="as ISA-18.2")] = ""
    ne107: Literal["", "F", "C", "S", "M"] = ""
    since: Instant = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One reading; `u` is a UCUM unit, `hi` and `lo` its limits."""

    n: Id
    v: float
    u: Annotated[str, msgspec.Meta(max_length=32)] = ""
    hi: float | None = None
    lo: float | None = None
    q: Annotated[str, msgspec.Meta(max_length=32)] = ""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics over one window; slope in units a second."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    last: float | None = None
    slope: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A signal's recent past."""

    n: Id
    stats: Stats
    t0: Instant = ""
    dt_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A fault report, version 1. Unknown fields are ignored, so that a newer gateway can talk to us."""

    dev: Device
    alarm: Alarm
    v: Literal[1] = 1
    id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    request_id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    reply_to: Annotated[str, msgspec.Meta(max_length=512)] = ""
    ts: Instant = ""
    locale: Annotated[str, msgspec.Meta(max_length=35)] = ""
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] | None = None
    values: Annotated[tuple[Value, ...], msgspec.Meta(max_length=64)] = ()
    win: Annotated[tuple[Window, ...], msgspec.Meta(max_length=32)] = ()
    log: Annotated[tuple[Line, ...], msgspec.Meta(max_length=20)] = ()


# What an alarm's `state` says once it has gone, and once somebody has seen it.
CLEARED = frozenset({"cleared", "inactive", "normal", "rtn"})
ACKNOWLEDGED = frozenset({"acknowledged", "acked", "ack"})

Event = Literal["raised", "acknowledged", "cleared"]


def event_of(report: Report) -> Event:
    """What has happened to the alarm; one whose state is not known stands."""
    state = report.alarm.state.strip().casefold()
    if state in CLEARED:
        return "cleared"
    return "acknowledged" if state in ACKNOWLEDGED else "raised"


def alarm_key(report: Report) -> str:
    """What tells this alarm from the device's others, also when it clears: code, bit, or else the text."""
    alarm = report.alarm
    bit = f"{alarm.word.strip()}.{alarm.bit}" if alarm.word.strip() else ""
    return alarm.code.strip() or bit or alarm.text.strip()


def line_of(device: str) -> str:
    """The line that a device is part of: its id without the last level; without levels it is one itself."""
    return device.rpartition("/")[0] or device


_URGENCIES = ((801, Priority.CRITICAL), (601, Priority.HIGH), (301, Priority.NORMAL))


def priority_of(report: Report) -> Priority:
    """How urgent the alarm's OPC UA severity makes it; without one, NORMAL."""
    severity = report.alarm.sev
    if severity is None:
        return Priority.NORMAL
    return next((priority for least, priority in _URGENCIES if severity >= least), Priority.LOW)


_decoder = msgspec.json.Decoder(Report)


def parse_report(payload: bytes) -> Report:
    """Decode and check a report. Raises RejectedError(INVALID or TOO_LONG) that names the field."""
    if len(payload) > MAX_REPORT_BYTES:
        message = f"the report has {len(payload)} bytes, at most {MAX_REPORT_BYTES} are taken"
        raise RejectedError(Reason.TOO_LONG, message)
    try:
        report = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise RejectedError(Reason.INVALID, str(error), field=field_of(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(Reason.INVALID, f"the report is not usable JSON: {error}") from None
    alarm = report.alarm
    if alarm.word.strip() and alarm.bit is None:
        raise RejectedError(Reason.INVALID, "alarm.word comes with alarm.bit", field="alarm.bit")
    if not (alarm.code.strip() or alarm.text.strip() or alarm.word.strip()):
        message = "alarm.code, alarm.text, or alarm.word and alarm.bit is needed"
        raise RejectedError(Reason.INVALID, message, field="alarm")
    return report


def field_of(problem: str) -> str:
    """The field that msgspec's words are about, such as dev.id."""
    message, _, path = problem.partition(" - at `$")
    parts = [path.strip("`.")] if path else []
    if missing := re.search(r"missing required field `(.+?)`", message):
        parts.append(missing[1])
    return ".".join(part for part in parts if part)
