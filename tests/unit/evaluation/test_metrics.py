import msgspec
import pytest

from lineside.evaluation.metrics import curve_of, goals_of, rows_of
from lineside.evaluation.outcome import Outcome

ANSWERED = Outcome(
    id="r1",
    kind="code",
    lang="en",
    answerable=True,
    mode="rules",
    status="ok",
    reason="",
    right=True,
    ranked_first=True,
    rank=1,
    citations=2,
    citations_right=1,
    citations_outside=0,
    statements=4,
    unsupported=0,
    conf=0.9,
    score=0.9,
    choice=None,
    latency_ms=2.0,
)


def outcome(**changes):
    return msgspec.structs.replace(ANSWERED, **changes)


ABSTAINED = {"status": "abstain", "right": False, "conf": 0.0, "citations": 0, "citations_right": 0}


def test_a_row_for_each_kind_and_language_and_one_for_all():
    rows = rows_of([outcome(), outcome(lang="zh"), outcome(kind="cause")])
    assert [(row.kind, row.lang, row.reports) for row in rows] == [
        ("cause", "en", 1),
        ("code", "en", 1),
        ("code", "zh", 1),
        ("all", "", 3),
    ]


def test_what_is_found_is_told_apart_from_what_is_answered():
    found_only = outcome(**ABSTAINED)
    fifth = outcome(right=False, ranked_first=False, rank=5)
    sixth = outcome(right=False, ranked_first=False, rank=6)
    row = rows_of([outcome(), found_only, fifth, sixth])[-1]
    assert (row.hit1, row.hit5, row.right, row.abstained) == (0.5, 0.75, 0.25, 0.25)
    assert row.citation_precision == 0.5


def test_reports_without_an_entry_have_no_hits():
    row = rows_of([outcome(**ABSTAINED | {"answerable": False, "ranked_first": False, "right": True})])[-1]
    assert (row.hit1, row.hit5, row.right) == (None, None, 1.0)
    assert row.citation_precision is None


def test_a_conflict_that_was_asked_for_is_no_wrong_abstention():
    conflict = outcome(kind="code_no_vendor", status="abstain", reason="conflict", rank=0)
    wrong = outcome(kind="code_no_vendor", **ABSTAINED)
    goals = goals_of([conflict, wrong, outcome()])
    assert goals["wrongly_abstained"] == pytest.approx(1 / 3, abs=1e-4)
    assert goals["code_no_vendor_right"] == 1.0
    assert "no_entry_abstained" not in goals, "nothing is claimed of what was not asked"


def test_abstentions_where_there_is_no_entry():
    silent = outcome(kind="no_entry", **ABSTAINED | {"answerable": False, "right": True})
    told = outcome(kind="no_entry", answerable=False, right=False)
    assert goals_of([silent, silent, silent, told])["no_entry_abstained"] == 0.75


def test_citations_outside_are_counted():
    assert goals_of([outcome(citations_outside=2), outcome()])["citations_outside_retrieved"] == 2.0


def test_risk_grows_with_coverage():
    sure = [outcome(conf=0.9) for _ in range(5)]
    unsure = [outcome(conf=0.3, right=False) for _ in range(3)]
    silent = [outcome(**ABSTAINED) for _ in range(2)]
    curve = curve_of(unsure + silent + sure)
    assert [(point.coverage, point.risk) for point in curve if point.coverage in (0.5, 0.8)] == [
        (0.5, 0.0),
        (0.8, 0.375),
    ]
    assert max(point.coverage for point in curve) == 0.8, "nobody is counted as covered who got no answer"
    assert curve_of(silent) == []


def test_latencies():
    row = rows_of([outcome(latency_ms=float(n)) for n in range(1, 101)])[-1]
    assert (row.latency_p50_ms, row.latency_p95_ms) == (50.5, 96.0)
