"""Sums over outcomes: a row for each kind and language, and the figures that goals are set for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import msgspec

from lineside.evaluation.outcome import Outcome

COVERAGES = tuple(step / 20 for step in range(1, 21))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of report in one language. Shares are from 0 to 1; None where there is nothing to share."""

    kind: str
    lang: str
    reports: int
    hit1: float | None
    hit5: float | None
    right: float
    abstained: float
    citation_precision: float | None
    unsupported: int
    statements: int
    latency_p50_ms: float
    latency_p95_ms: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The share of wrong answers among the most confident `coverage` of all reports."""

    coverage: float
    risk: float
    conf: float


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each kind and language, then one for all."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.kind, outcome.lang), []).append(outcome)
    rows = [_row(kind, lang, groups[kind, lang]) for kind, lang in sorted(groups)]
    return [*rows, _row("all", "", outcomes)]


def _row(kind: str, lang: str, outcomes: Sequence[Outcome]) -> Row:
    answerable = [one for one in outcomes if one.answerable]
    single = [one for one in answerable if one.rank or not one.ranked_first]
    cited = sum(one.citations for one in outcomes if one.status == "ok")
    latencies = sorted(one.latency_ms for one in outcomes)
    return Row(
        kind=kind,
        lang=lang,
        reports=len(outcomes),
        hit1=_share((one.ranked_first for one in answerable), len(answerable)),
        hit5=_share((one.ranked_first or 0 < one.rank <= 5 for one in single), len(single)),
        right=_share((one.right for one in outcomes), len(outcomes)) or 0.0,
        abstained=_share((one.abstained for one in outcomes), len(outcomes)) or 0.0,
        citation_precision=_ratio(sum(o.citations_right for o in outcomes if o.status == "ok"), cited),
        unsupported=sum(one.unsupported for one in outcomes),
        statements=sum(one.statements for one in outcomes),
        latency_p50_ms=round(statistics.median(latencies), 3),
        latency_p95_ms=round(latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))], 3),
    )


def curve_of(outcomes: Sequence[Outcome]) -> list[Point]:
    """Risk against coverage, over the reports that were answered, the most confident first."""
    answered = sorted((one for one in outcomes if one.status == "ok"), key=lambda one: -one.conf)
    counts = {math.ceil(coverage * len(outcomes) - 1e-9) for coverage in COVERAGES} | {len(answered)}
    return [
        Point(
            coverage=round(count / len(outcomes), 4),
            risk=round(sum(not one.right for one in answered[:count]) / count, 4),
            conf=answered[count - 1].conf,
        )
        for count in sorted(counts)
        if 0 < count <= len(answered)
    ]


def goals_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The figures that have goals, of the kinds that there are."""
    rows = {(row.kind, row.lang): row for row in rows_of(outcomes)}
    named = {
        "code_hit1": ("code", "en"),
        "code_spelling_hit1": ("code_spelling", "en"),
        "code_no_vendor_right": ("code_no_vendor", "en"),
        "title_garbled_en_hit1": ("title_garbled", "en"),
        "title_garbled_zh_hit1": ("title_garbled", "zh"),
        "cause_zh_hit1": ("cause", "zh"),
        "cross_language_hit1": ("cross_language", "en"),
    }
    found = {name: rows[key].hit1 for name, key in named.items() if key in rows}
    found["no_entry_abstained"] = _of((o for o in outcomes if not o.answerable), abstained=True)
    found["wrongly_abstained"] = _wrongly([o for o in outcomes if o.answerable])
    found["citations_outside_retrieved"] = float(sum(o.citations_outside for o in outcomes))
    return {name: value for name, value in found.items() if value is not None}


def _wrongly(answerable: Sequence[Outcome]) -> float | None:
    """Answerable reports with an abstention that is not the conflict which was asked for."""
    return _share((one.abstained and not one.right for one in answerable), len(answerable))


def _of(outcomes: Iterable[Outcome], *, abstained: bool) -> float | None:
    chosen = list(outcomes)
    return _share((one.abstained is abstained for one in chosen), len(chosen))


def _share(flags: Iterable[bool], count: int) -> float | None:
    return _ratio(sum(flags), count)


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
