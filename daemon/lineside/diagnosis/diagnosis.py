"""The diagnosis as devices and people receive it. Knows nothing of how it was found."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "abstain", "error"]
SeverityName = Literal["critical", "high", "medium", "low"]
CheckKind = Literal["inspect", "measure", "reset", "replace"]
EvidenceKind = Literal["manual", "sensor", "log", "confirmed"]


class DeviceRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose fault it is, and where it stands, as far as the plant's registry says."""

    id: str
    location: str = ""


class AlarmRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarm, and how often it was reported."""

    code: str = ""
    count: int = 1


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A possible cause; `refs` name the evidence that it is taken from, never empty."""

    text: str
    refs: tuple[str, ...]
    mode: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do; `isolate`: only with the machine locked out."""

    text: str
    kind: CheckKind
    isolate: bool
    refs: tuple[str, ...]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the diagnosis rests on, quoted. `src` is `manual#code` for a manual."""

    ref: str
    kind: EvidenceKind
    src: str
    quote: str


class WorkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Fields for a maintenance system. prio 1 is the most urgent."""

    title: str
    prio: int
    type: Literal["CM"] = "CM"


class GroupAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm of a group: its device, and its code, bit or text."""

    dev: str
    alarm: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of one line that came together: the first out, which is diagnosed; the rest as they had come.

    `more`: how many beyond those listed.
    """

    first: GroupAlarm
    rest: tuple[GroupAlarm, ...] = ()
    more: int = 0


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis, version 1. Always advisory. `reason` is set unless `status` is ok.

    `energy_j`, `timings.energy_j` and `timings.tokens_per_j` are null where that was not measured.
    """

    id: str
    diagnosis_id: str
    dev: DeviceRef
    alarm: AlarmRef
    received_at: str
    status: Status
    mode: Literal["model", "rules"]
    severity: SeverityName
    lang: str
    v: Literal[1] = 1
    time_quality: Literal["synced", "unsynced"] = "unsynced"
    reason: str = ""
    message: str = ""
    field: str = ""
    retry_after_ms: int = 0
    advisory: Literal[True] = True
    safety: tuple[str, ...] = ()
    meaning: str = ""
    causes: tuple[Cause, ...] = ()
    checks: tuple[Check, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    conf: float = 0.0
    wo: WorkOrder | None = None
    group: Group | None = None
    model: str = ""
    kb: str = ""
    # Whole numbers stay whole, so that what is kept and read again is the same to the byte.
    timings: dict[str, int | float | None] = {}
    energy_j: float | None = None


def encode_diagnosis(diagnosis: Diagnosis) -> bytes:
    """The JSON document that every transport sends."""
    return msgspec.json.encode(diagnosis)
