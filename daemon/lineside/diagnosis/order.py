"""In which order a report's log lines and alarm came, by the times in them. Knows nothing of manuals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.evidence import log_number
from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.report import Report

REF, SOURCE = "O1", "log:order"
DAY_S = 86_400.0
# Further apart, lines without a date cannot be put in order: they may be of different days.
MAX_APART_S = DAY_S / 2
_TIME = re.compile(
    r"(?<![\d:.])(?:(\d{4})[-/.](\d\d)[-/.](\d\d)[T ])?"
    r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:[.,](\d{1,6}))?(?![\d:])"
)


class Moment(NamedTuple):
    """A time of day, on a day where one is named. Zones are left out: a device has one."""

    day: int | None
    of_day_s: float

    def after(self, other: Moment) -> float:
        """Seconds since `other`; where a day is missing, the way that is shorter round the clock."""
        seconds = self.of_day_s - other.of_day_s
        if self.day is not None and other.day is not None:
            return seconds + (self.day - other.day) * DAY_S
        return (seconds + MAX_APART_S) % DAY_S - MAX_APART_S


def order_evidence(report: Report, logs: Sequence[Evidence], language: Language) -> tuple[Evidence, ...]:
    """One statement on when the log evidence was written, seen from the alarm, else from its first line."""
    moments = {log.ref: moment_of(report.log[log_number(log) - 1]) for log in logs}
    timed = {ref: moment for ref, moment in moments.items() if moment is not None}
    alarm = moment_of(report.alarm.since)
    if not timed or (alarm is None and len(timed) < 2):
        return ()
    reference = alarm or next(iter(timed.values()))
    start = alarm or min(timed.values(), key=lambda moment: moment.after(reference))
    offsets = sorted((moment.after(start), ref) for ref, moment in timed.items())
    if not any(offset for offset, _ in offsets):
        return ()
    parts = [_place(ref, offset, language, from_alarm=alarm is not None) for offset, ref in offsets]
    quote = phrase("order", language, events=phrase("comma", language).join(parts))
    return (Evidence(ref=REF, kind="log", src=SOURCE, quote=quote),)


def moment_of(text: str) -> Moment | None:
    """The first time in a text."""
    found = _TIME.search(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = found.groups()
    of_day_s = int(hour) * 3600 + int(minute) * 60 + int(second) + float(f"0.{fraction or 0}")
    try:
        return Moment(date(int(year), int(month), int(day)).toordinal() if year else None, of_day_s)
    except ValueError:
        return None


def _place(ref: str, offset_s: float, language: Language, *, from_alarm: bool) -> str:
    if not from_alarm:
        return phrase("later" if offset_s else "first", language, ref=ref, time=span(offset_s, language))
    name = "before_alarm" if offset_s < 0 else "after_alarm" if offset_s else "with_alarm"
    return phrase(name, language, ref=ref, time=span(abs(offset_s), language))


def span(seconds: float, language: Language) -> str:
    """A duration as people say it."""
    if seconds < 10:
        return phrase("seconds", language, n=f"{seconds:.3g}")
    if seconds < 120:
        return phrase("seconds", language, n=round(seconds))
    if seconds < 7200:
        return phrase("minutes", language, n=round(seconds / 60))
    return phrase("hours", language, n=round(seconds / 3600))
