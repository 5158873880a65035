"""Times as controllers tell them, as RFC 3339. Knows nothing of reports, and never asks what time it is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from lineside.errors import LinesideError

# Seconds reach as far as the year 5138, and each finer unit begins where the one before it ends.
_UNITS = ((1e11, 1), (1e14, 1000), (1e17, 1_000_000), (1e20, 1_000_000_000))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_WRITTEN = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)


def plant_zone(name: str) -> ZoneInfo | None:
    """The zone of that name; None for the machine's own. Raises LinesideError for one that is unknown."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise _unknown(name) from error
    except KeyError as error:
        raise _unknown(name) from error


def rfc3339(value: object, zone: tzinfo | None, written: str = "") -> str:
    """A number since 1970 in s, ms, us or ns, or a time as written; without a zone it is the plant's.

    Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is no time")  # noqa: TRY004 - data, not code
    if isinstance(value, str) and written:
        return _shown(parsed(value, written), zone)
    if isinstance(value, str) and not re.fullmatch(r"\d{1,20}(\.\d{1,9})?", value):
        return _read(value, zone)
    return _since_1970(float(value))


def parsed(text: str, written: str) -> datetime:
    """By strptime's format. Raises ValueError, also for what is none."""
    try:
        return datetime.strptime(text, written)
    except re.error as error:  # a directive that stands there twice
        raise ValueError(f"{written[:40]!r} is no format of times: {error}") from None


def _since_1970(number: float) -> str:
    for most, per_second in _UNITS:
        if 0 <= number < most:
            return _shown(_EPOCH + timedelta(seconds=number / per_second), None)
    raise ValueError("is no time since 1970")


def _read(text: str, zone: tzinfo | None) -> str:
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time, such as 2026-03-20 14:02:11")
    year, month, day, hour, minute = (int(part) for part in found.groups()[:5])
    second, fraction, offset = found[6] or "0", (found[7] or "").ljust(6, "0")[:6], found[8]
    naive = datetime(year, month, day, hour, minute, int(second), int(fraction))
    if offset is None:
        return _shown(naive, zone)
    if offset in "Zz":
        return _shown(naive.replace(tzinfo=timezone.utc), None)
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return _shown(
        naive.replace(tzinfo=timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))), None
    )


def _shown(instant: datetime, zone: tzinfo | None) -> str:
    """Years before 1 or after 9999 in another zone are an OverflowError, which is told as any other."""
    if instant.tzinfo is None:
        try:
            instant = instant.astimezone() if zone is None else instant.replace(tzinfo=zone)
        except OverflowError as error:
            raise ValueError("is out of range") from error
    shown = instant.isoformat(timespec="milliseconds" if instant.microsecond else "seconds")
    return shown.replace("+00:00", "Z")


def _unknown(name: str) -> LinesideError:
    hint = "name a zone as in Asia/Shanghai or Europe/Berlin, or leave it out for the machine's own"
    return LinesideError("read configuration", f"[plant] timezone: there is no zone {name!r}", hint)
