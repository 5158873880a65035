"""A mapping's file as structs: every key that it may have. Knows nothing of what the values mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from lineside.diagnosis.report import Alarm, Device, Report
from lineside.gateways.source import Written
from lineside.ports import Wanted

MAX_MAPPINGS = 64

Format = Literal["json", "text", "report"]
Given = str | int | float | Written


def _sources(name: str, of: type[msgspec.Struct], left_out: tuple[str, ...] = ()) -> Any:
    """A struct with a source for each field of a part of the report."""
    fields = [(field, Given | None, None) for field in of.__struct_fields__ if field not in left_out]
    return msgspec.defstruct(name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True)


DeviceSources = _sources("DeviceSources", Device)
AlarmSources = _sources("AlarmSources", Alarm)
_NESTED = ("dev", "alarm", "values", "win", "v")
ReportSources: Any = msgspec.defstruct(
    "ReportSources",
    [("dev", DeviceSources, DeviceSources()), ("alarm", AlarmSources, AlarmSources())],
    bases=(_sources("TopSources", Report, _NESTED),),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


class Reading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reading of the report: where its number is, and what is known of it."""

    at: str | None = None
    top: str | None = None
    u: str = ""
    hi: float | None = None
    lo: float | None = None


class AllReadings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every number of an object, by its name, or of an array of objects, with pointers into each."""

    at: str | None = None
    top: str | None = None
    n: str = "/name"
    v: str = "/value"


class Ignored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is no alarm: something there `equals` one of these, or is `missing`."""

    at: str | None = None
    top: str | None = None
    equals: tuple[str | int | float | bool, ...] = ()
    missing: bool = False


class WrittenMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mapping. `device` and `each` as docs/gateways.md has them."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    format: Format = "json"
    separator: Annotated[str, msgspec.Meta(max_length=8)] = ""
    device: str = ""
    each: str | None = None
    each_bit: str | None = None
    ignore: tuple[Ignored, ...] = ()
    report: ReportSources = ReportSources()
    values: dict[str, str | Reading] = {}
    all_values: AllReadings | None = None
    forms: tuple[Wanted, ...] | None = None
    gateways: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()


class MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    mapping: Annotated[tuple[WrittenMapping, ...], msgspec.Meta(min_length=1, max_length=MAX_MAPPINGS)]
