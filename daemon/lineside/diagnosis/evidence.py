"""What the report's own numbers and log lines say, computed. Knows nothing of manuals beyond their words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.terms import IDLE, query_terms
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.report import Report, Value, Window

MAX_SENSORS, MAX_LOGS = 4, 3
MAX_LOG_QUOTE = 200
# A limit that a trend reaches later than this is no part of the fault at hand.
MAX_AHEAD_S = 3600.0
# One shared word is met by chance; two, or one that a cause and an action share, or the code itself, seldom.
MIN_SHARED = 2
_GOOD = frozenset({"", "good", "ok", "192", "0"})
_UNITS = {"Cel": "°C", "[degF]": "°F", "Ohm": "Ω"}


class Finding(NamedTuple):
    """A signal and what is wrong with it; a bigger weight is worse."""

    weight: float
    signal: str
    quote: str


def sensor_evidence(report: Report, language: Language) -> tuple[Evidence, ...]:
    """Values beyond their limits, then trends towards one, then readings of bad quality."""
    findings = sorted(_findings(report, language), key=lambda finding: -finding.weight)[:MAX_SENSORS]
    return tuple(
        Evidence(ref=f"S{number}", kind="sensor", src=finding.signal, quote=finding.quote)
        for number, finding in enumerate(findings, 1)
    )


def log_evidence(report: Report, entries: Sequence[Entry]) -> tuple[Evidence, ...]:
    """The log lines that together say most of the entries, in the log's order."""
    weights = _weights(entries)
    codes = {key for entry in entries for key, _ in code_keys(entry.code)[:1]}
    found = {index: _telling(line, weights) for index, line in enumerate(report.log)}
    open_lines = [
        index
        for index, terms in found.items()
        if _weigh(terms, weights) >= MIN_SHARED or _names(report.log[index], codes)
    ]
    chosen: list[int] = []
    said: set[str] = set()
    while open_lines and len(chosen) < MAX_LOGS:
        # What no chosen line says yet counts first: one reading, logged three times, is one finding. A line
        # that only repeats the code comes last, the alarm itself says that; of equals the latest.
        best = max(open_lines, key=lambda i: (_weigh(found[i] - said, weights), _weigh(found[i], weights), i))
        open_lines.remove(best)
        chosen.append(best)
        said |= found[best]
    return tuple(
        Evidence(ref=f"L{number}", kind="log", src=log_source(index + 1), quote=_line(report.log[index]))
        for number, index in enumerate(sorted(chosen), 1)
    )


def computed_quotes(report: Report, language: Language) -> frozenset[str]:
    """Everything that can be quoted of the report, whichever entries were found."""
    findings = (finding.quote for finding in _findings(report, language))
    return frozenset((*findings, *map(_line, report.log)))


def log_source(number: int) -> str:
    """Where a log line is found: its number in the report, from 1."""
    return f"log:{number}"


def quantity(value: float, unit: str) -> str:
    """A reading as people write it."""
    return f"{value:.6g} {_UNITS.get(unit, unit)}".rstrip()


def beyond_limit(value: Value) -> float:
    """How far outside its limits, as a share of the limit; 0: within, or not to be trusted."""
    if not is_good(value):
        return 0.0
    over = value.v - value.hi if value.hi is not None else 0.0
    under = value.lo - value.v if value.lo is not None else 0.0
    distance, limit = (over, value.hi) if over >= under else (under, value.lo)
    return distance / (abs(limit) or 1.0) if distance > 0 and limit is not None else 0.0


def is_good(value: Value) -> bool:
    """Whether the gateway trusts the reading."""
    return value.q.strip().casefold() in _GOOD


def time_to_limit(window: Window, value: Value | None) -> tuple[float, float] | None:
    """Seconds until the trend reaches a limit, and the limit; None: it goes nowhere near one."""
    slope, last = window.stats.slope, window.stats.last
    if value is None or not is_good(value) or not slope or last is None:
        return None
    limit = value.hi if slope > 0 else value.lo
    if limit is None or (limit - last) * slope <= 0:
        return None
    seconds = (limit - last) / slope
    return (seconds, limit) if math.isfinite(seconds) and seconds <= MAX_AHEAD_S else None


def _findings(report: Report, language: Language) -> Iterable[Finding]:
    values = {value.n: value for value in report.values}
    for value in values.values():
        if beyond := beyond_limit(value):
            yield Finding(2 + min(beyond, 1e6), value.n, _beyond(value, language))
        elif not is_good(value):
            yield Finding(0.5, value.n, phrase("bad_quality", language, name=value.n, quality=value.q))
    for window in report.win:
        value_now = values.get(window.n)
        ahead = time_to_limit(window, value_now)
        if ahead is not None and value_now is not None and not beyond_limit(value_now):
            yield Finding(2 - ahead[0] / MAX_AHEAD_S, window.n, _trend(window, value_now, ahead, language))


def _beyond(value: Value, language: Language) -> str:
    above = value.hi is not None and value.v > value.hi
    limit = value.hi if above else value.lo
    reading, bound = quantity(value.v, value.u), quantity(limit or 0.0, value.u)
    return phrase("above" if above else "below", language, name=value.n, value=reading, limit=bound)


def _trend(window: Window, value: Value, ahead: tuple[float, float], language: Language) -> str:
    seconds, limit = ahead
    direction = "rising" if (window.stats.slope or 0) > 0 else "falling"
    unit, count = ("seconds", seconds) if seconds < 120 else ("minutes", seconds / 60)
    time = phrase(unit, language, n=round(count))
    return phrase(direction, language, name=window.n, limit=quantity(limit, value.u), time=time)


def _weights(entries: Sequence[Entry]) -> dict[str, int]:
    """The entries' words. One in a cause and in an action tells causes apart; the title's do not."""
    weights: dict[str, int] = {}
    for text in (text for entry in entries for text in entry.texts):
        title = set(query_terms(text.title))
        causes, actions = (set(query_terms(" ".join(part))) for part in (text.causes, text.actions))
        for term in title | causes | actions:
            weight = 2 if term in causes & actions - title else 1
            weights[term] = max(weight, weights.get(term, 0))
    return weights


def _telling(line: str, weights: Mapping[str, int]) -> set[str]:
    # Pairs of Latin signs are no words: those of two times of day meet by chance.
    terms = (term for term in query_terms(line) if len(term) > 1 and term.isalpha() and term not in IDLE)
    return {term for term in terms if term in weights}


def _weigh(terms: set[str], weights: Mapping[str, int]) -> int:
    return sum(weights[term] for term in terms)


def _names(line: str, codes: set[str]) -> bool:
    return any(
        key in codes for word in line.split() if any(map(str.isdigit, word)) for key, _ in code_keys(word)[:1]
    )


def _line(line: str) -> str:
    clean = " ".join(line.split())
    return clean if len(clean) <= MAX_LOG_QUOTE else clean[: MAX_LOG_QUOTE - 1] + "…"
