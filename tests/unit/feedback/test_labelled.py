import json

import pytest
from tests.unit.feedback.feedback_builders import FITTER, feedback, issued

from lineside.evaluation.cases import read_cases
from lineside.feedback.labelled import can_be_scored, labelled
from lineside.feedback.store import Case, Decision

NOW = "2026-03-01T10:00:00.000Z"
LEARNT = Decision(by=FITTER, at=NOW, entry="plant:u:F012")


def line(verdict="right", given=None, decision=None):
    state = "approved" if decision else "pending"
    said = feedback(verdict=verdict)
    case = Case(
        id="v1", received_at=NOW, state=state, feedback=said, issued=given or issued(), decision=decision
    )
    return labelled(case)


@pytest.mark.parametrize(
    ("case", "expect"),
    [
        (line(), {"entry": "drive:unit:F012"}),
        (line(given=issued(status="abstain", entries=())), {"abstain": True}),
        (line(given=issued(status="abstain", entries=("a::1", "b::1"))), {"conflict": ["a::1", "b::1"]}),
        (line("wrong", decision=LEARNT), {"entry": "plant:u:F012"}),
        (line("wrong"), {"not": ["drive:unit:F012"]}),
    ],
)
def test_what_is_to_be_expected(case, expect):
    assert case["expect"] == expect
    assert can_be_scored(case) is ("not" not in expect)


def test_the_evaluation_reads_it(tmp_path):
    file = tmp_path / "labelled.jsonl"
    file.write_text(json.dumps(line(given=issued(lang="zh")), ensure_ascii=False) + "\n", "utf-8")
    (case,) = read_cases(file)
    assert (case.id, case.kind, case.lang, case.expect.entry) == ("v1", "feedback", "zh", "drive:unit:F012")
    assert case.report == issued().report
