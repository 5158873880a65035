"""What a ledger and samples come to. Knows nothing of how they were made."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping

from tests.support.ledger import Entry

WARM_SHARE = 0.2
TOO_LATE = ("deadline", "unreachable", "expired")


def slope(samples: list[tuple[float, float]]) -> float:
    """Of the second value over the first, by least squares, after a fifth of the samples; 0 of too few."""
    samples = samples[int(len(samples) * WARM_SHARE) :]
    return statistics.linear_regression(*zip(*samples, strict=True)).slope if len(samples) > 2 else 0.0


def within_deadline(entries: Iterable[Entry], deadline_ms: int) -> float:
    """The share of critical reports that were answered in time; 1 of none."""
    seconds = _seconds(entries)
    return sum(one * 1000 <= deadline_ms for one in seconds) / len(seconds) if seconds else 1.0


def late(entries: Mapping[str, Entry], deadline_ms: int) -> list[dict[str, object]]:
    """Each critical report that was answered too late, or not: seconds to its acknowledgement and answer."""
    found = []
    for name, one in entries.items():
        if one.critical and within_deadline([one], deadline_ms) < 1:
            seconds = (
                None if at_s is None else round(at_s - one.sent_s, 1)
                for at_s in (one.accepted_s, one.answered_s)
            )
            found.append({"name": name, "reason": one.reason, "seconds": list(seconds)})
    return found


def p95_s(entries: Iterable[Entry]) -> float | None:
    """Of critical reports, to their answer; None where more than one in twenty was not answered."""
    seconds = sorted(_seconds(entries))
    found = seconds[math.ceil(len(seconds) * 0.95) - 1] if seconds else 0.0
    return None if math.isinf(found) else found


def _seconds(entries: Iterable[Entry]) -> list[float]:
    """From being sent to being answered; infinite where nothing came, or only that it is too late."""
    return [
        math.inf if one.answered_s is None or one.reason in TOO_LATE else one.answered_s - one.sent_s
        for one in entries
        if one.critical
    ]
