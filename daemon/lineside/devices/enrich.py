"""Adds to a report what the registry knows of its device. Knows nothing of files or of manuals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from msgspec.structs import replace

from lineside.closing import Closing
from lineside.devices.file import DeviceStore
from lineside.devices.registry import Device, Registry, Tag
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Alarm, Report, Stats, Value, Window
from lineside.ports import Call, Diagnoser, DiagnosisEvent

_FILLED = ("type", "vendor", "model", "unit", "fw", "code_base")


class EnrichingDiagnoser:
    """Implements ports.Diagnoser: the inner one gets the report as if the device knew itself."""

    def __init__(self, inner: Diagnoser, store: DeviceStore) -> None:
        self._inner = inner
        self._store = store

    async def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """See ports.Diagnoser."""
        registry = await anyio.to_thread.run_sync(self._store.registry)
        device = registry.device(report.dev.id)
        async with Closing(self._inner.diagnose(enriched(report, registry), call)) as events:
            async for event in events:
                yield with_device(event, device) if isinstance(event, Diagnosis) and device else event


def enriched(report: Report, registry: Registry) -> Report:
    """The report with what it leaves open filled in: device, language, code, tags' names and limits."""
    device = registry.device(report.dev.id)
    known = {} if device is None else {name: getattr(device, name) for name in _FILLED}
    missing = {name: value for name, value in known.items() if value and not getattr(report.dev, name)}
    return replace(
        report,
        dev=replace(report.dev, **missing),
        alarm=_alarm(report, registry),
        locale=report.locale or (device.language if device else ""),
        values=tuple(_value(one, registry.tag(report.dev.id, one.n)) for one in report.values),
        win=tuple(_window(one, registry.tag(report.dev.id, one.n)) for one in report.win),
    )


def with_device(diagnosis: Diagnosis, device: Device) -> Diagnosis:
    """The device's own safety notes first, and where it stands."""
    own = tuple(note for note in device.safety if note not in diagnosis.safety)
    dev = replace(diagnosis.dev, location=device.location)
    return replace(diagnosis, dev=dev, safety=(*own, *diagnosis.safety))


def _alarm(report: Report, registry: Registry) -> Alarm:
    """A bit that nobody has mapped is a code by itself, as lists of alarm bits are imported."""
    alarm = report.alarm
    if alarm.code.strip() or not alarm.word.strip() or alarm.bit is None:
        return alarm
    bit = registry.bit(report.dev.id, alarm.word, alarm.bit)
    if bit is None:
        return replace(alarm, code=f"{alarm.word.strip()}.{alarm.bit}")
    return replace(alarm, code=bit.code, text=alarm.text or bit.text)


def _value(value: Value, tag: Tag | None) -> Value:
    if tag is None:
        return value
    return replace(
        value,
        n=tag.name or value.n,
        # A reading that comes with a unit is in it; one without is as the controller counts.
        v=value.v if value.u else value.v * tag.scale + tag.offset,
        u=value.u or tag.unit,
        **_limits(value, tag),
    )


def _limits(value: Value, tag: Tag) -> dict[str, float | None]:
    """The report's own, in engineering units; else the tag's, where the units are the same."""
    if value.u and tag.unit and value.u != tag.unit:
        return {}
    return {
        "hi": tag.hi if value.hi is None else value.hi,
        "lo": tag.lo if value.lo is None else value.lo,
    }


def _window(window: Window, tag: Tag | None) -> Window:
    """Windows carry no unit: they are as the controller counts."""
    if tag is None:
        return window
    stats = window.stats
    levels = {name: _scaled(getattr(stats, name), tag) for name in ("min", "max", "mean", "last")}
    if tag.scale < 0:
        levels["min"], levels["max"] = levels["max"], levels["min"]
    slope = None if stats.slope is None else stats.slope * tag.scale
    return replace(window, n=tag.name or window.n, stats=Stats(**levels, slope=slope))


def _scaled(level: float | None, tag: Tag) -> float | None:
    return None if level is None else level * tag.scale + tag.offset
