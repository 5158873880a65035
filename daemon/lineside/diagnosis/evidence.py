"""What the report's own numbers and log lines say, computed. Knows nothing of manuals beyond their words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.terms import IDLE, query_terms
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.relations import CHANGE, effects_apart, events_in
from lineside.diagnosis.report import Report, Value, Window
from lineside.diagnosis.work import addresses_reader

MAX_SENSORS, MAX_LOGS = 4, 3
MAX_LOG_QUOTE = 200
# A limit that a trend reaches later than this is no part of the fault at hand.
MAX_AHEAD_S = 3600.0
# A signal without a limit has to leave its mean by that share of it to be worth a word.
MOVED = 0.1
# One shared word is met by chance; two, or one that a cause and an action share, or the code itself, seldom.
MIN_SHARED = 2
_GOOD = frozenset({"", "good", "ok", "192", "0"})
_UNITS = {"1": "", "Cel": "°C", "[degF]": "°F", "Ohm": "Ω"}


class Finding(NamedTuple):
    """A signal and what is wrong with it; a bigger weight is worse."""

    weight: float
    signal: str
    quote: str


def sensor_evidence(report: Report, language: Language) -> tuple[Evidence, ...]:
    """Beyond a limit now, then on the way to one, then beyond it lately, then moving, then of bad quality."""
    findings = sorted(_findings(report, language), key=lambda finding: -finding.weight)[:MAX_SENSORS]
    return tuple(
        Evidence(ref=f"S{number}", kind="sensor", src=finding.signal, quote=finding.quote)
        for number, finding in enumerate(findings, 1)
    )


def log_evidence(report: Report, entries: Sequence[Entry]) -> tuple[Evidence, ...]:
    """The log lines that together say most of the entries, in the log's order."""
    weights = _weights(entries)
    codes = {key for entry in entries for key, _ in code_keys(entry.code)[:1]}
    spoken = {index: line for index, line in enumerate(report.log) if not addresses_reader(line)}
    found = {index: _tells(line) & weights.keys() for index, line in spoken.items()}
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


def log_number(evidence: Evidence) -> int:
    """Which line of the report a log's evidence is, from 1."""
    return int(evidence.src.partition(":")[2])


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
    """One for each signal at most: the weightiest."""
    windows = {window.n: window for window in report.win}
    values = {value.n: value for value in report.values}
    for value in values.values():
        if beyond := beyond_limit(value):
            yield Finding(2 + min(beyond, 1e6), value.n, _beyond(value, windows.get(value.n), language))
        elif not is_good(value):
            yield Finding(0.5, value.n, phrase("bad_quality", language, name=value.n, quality=value.q))
        elif found := _in_window(value, windows.get(value.n), language):
            yield found
    for window in windows.values():
        if window.n not in values and (moved := _moved(window, "", language)):
            yield moved


def _in_window(value: Value, window: Window | None, language: Language) -> Finding | None:
    """What the recent past says of a reading that is within its limits now."""
    if window is None:
        return None
    if (ahead := time_to_limit(window, value)) is not None:
        return Finding(2 - ahead[0] / MAX_AHEAD_S, value.n, _trend(window, value, ahead, language))
    stats = window.stats
    for name, extreme, limit, sign in (
        ("was_above", stats.max, value.hi, 1),
        ("was_below", stats.min, value.lo, -1),
    ):
        if extreme is not None and limit is not None and (extreme - limit) * sign > 0:
            reading, bound = quantity(extreme, value.u), quantity(limit, value.u)
            return Finding(0.9, value.n, phrase(name, language, name=value.n, value=reading, limit=bound))
    return _moved(window, value.u, language)


def _moved(window: Window, unit: str, language: Language) -> Finding | None:
    """A signal that left its mean in the direction of its slope, and by more than noise."""
    last, mean, slope = window.stats.last, window.stats.mean, window.stats.slope
    if last is None or mean is None or not slope or (last - mean) * slope <= 0:
        return None
    if abs(last - mean) < MOVED * abs(mean):
        return None
    shown = {"last": quantity(last, unit), "mean": quantity(mean, unit)}
    name = "moving_up" if slope > 0 else "moving_down"
    return Finding(0.7, window.n, phrase(name, language, name=window.n, **shown))


def _beyond(value: Value, window: Window | None, language: Language) -> str:
    above = value.hi is not None and value.v > value.hi
    limit = (value.hi if above else value.lo) or 0.0
    reading, bound = quantity(value.v, value.u), quantity(limit, value.u)
    finding = phrase("above" if above else "below", language, name=value.n, value=reading, limit=bound)
    mean = None if window is None else window.stats.mean
    if mean is None:
        return finding
    lasting = mean > limit if above else mean < limit
    return phrase(
        "mean_too" if lasting else "peak_only", language, finding=finding, mean=quantity(mean, value.u)
    )


def _trend(window: Window, value: Value, ahead: tuple[float, float], language: Language) -> str:
    seconds, limit = ahead
    direction = "rising" if (window.stats.slope or 0) > 0 else "falling"
    unit, count = ("seconds", seconds) if seconds < 120 else ("minutes", seconds / 60)
    time = phrase(unit, language, n=round(count))
    return phrase(direction, language, name=window.n, limit=quantity(limit, value.u), time=time)


def _weights(entries: Sequence[Entry]) -> dict[str, int]:
    """The entries' words. One in a cause and in an action tells causes apart; the title's do not.

    With what only one cause has: where the line tells that it was changed, or of an event that it comes of.
    """
    weights: dict[str, int] = {}
    for text in (text for entry in entries for text in entry.texts):
        title = set(query_terms(text.title))
        causes, actions = (set(query_terms(" ".join(part))) for part in (text.causes, text.actions))
        for term in title | causes | actions:
            weight = 2 if term in causes & actions - title else 1
            weights[term] = max(weight, weights.get(term, 0))
        apart = [set(query_terms(cause)) for cause in text.causes]
        shared = Counter(term for cause in apart for term in cause)
        weights.update((_changed(term), MIN_SHARED) for term, count in shared.items() if count == 1)
        weights.update((_event(name), MIN_SHARED) for effects in effects_apart(text) for name in effects)
    return weights


def _tells(line: str) -> set[str]:
    """The line's words, what has changed by it, and of what kind its event is."""
    terms = telling_terms(line)
    changed = map(_changed, terms) if CHANGE.search(line) else ()
    return {*terms, *changed, *map(_event, events_in(line))}


def _changed(term: str) -> str:
    return f"changed {term}"


def _event(name: str) -> str:
    return f"event {name}"


def telling_terms(line: str) -> set[str]:
    """The words of a line that can say something of a fault."""
    # Pairs of Latin signs are no words: those of two times of day meet by chance.
    return {term for term in query_terms(line) if len(term) > 1 and term.isalpha() and term not in IDLE}


def _weigh(terms: set[str], weights: Mapping[str, int]) -> int:
    return sum(weights[term] for term in terms)


def _names(line: str, codes: set[str]) -> bool:
    return any(
        key in codes for word in line.split() if any(map(str.isdigit, word)) for key, _ in code_keys(word)[:1]
    )


def _line(line: str) -> str:
    clean = " ".join(line.split())
    return clean if len(clean) <= MAX_LOG_QUOTE else clean[: MAX_LOG_QUOTE - 1] + "…"
