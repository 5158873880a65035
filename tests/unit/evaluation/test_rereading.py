"""What rereading adds, measured on halves; with readers whose opinion is known."""

import anyio
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.evaluation.evaluation_data import case, write_data
from tests.unit.evaluation.readers import Knowing, reading
from tests.unit.evaluation.test_run import DEMO, quiet

from lineside.cli import main
from lineside.diagnosis.knowledge.rereading import confidence, evidence_of, first_of
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.rereading import SHARES, fitted_reading, rows_of
from lineside.evaluation.suites import Plan, reread


def by_name(rows, share):
    return {row.ranked_by: row for row in rows if row.abstain_share == share}


def test_a_model_that_knows_is_better_on_what_it_was_not_fitted_to():
    rows = rows_of([reading(number) for number in range(240)])
    for share in SHARES:
        found = by_name(rows, share)
        alone, both = found["the search"], found["the search and the model's reading"]
        assert (alone.hit1, both.hit1, both.right, both.wrong) == (0.5, 1.0, 1.0, 0.0)
        assert both.abstained == 1.0
        assert (both.reports, both.without_entry) == (160, 80)


def test_a_model_that_knows_nothing_changes_nothing():
    rows = by_name(rows_of([reading(number, knows=False) for number in range(240)]), SHARES[0])
    alone, both = rows["the search"], rows["the search and the model's reading"]
    assert (alone.hit1, alone.right, alone.abstained) == (both.hit1, both.right, both.abstained)


def test_too_little_to_fit_to_is_refused():
    known = [reading(number) for number in range(240) if number % 3]
    for fit in (rows_of, fitted_reading):
        with pytest.raises(EvaluationError, match="nothing to fit to"):
            fit(known)


def test_what_is_fitted_for_the_daemon_ranks_and_abstains_as_what_is_measured():
    found = [reading(number) for number in range(240)]
    weights = fitted_reading(found)
    first = [first_of(one.scores, one.gains, weights.ranking) for one in found]
    sure = [
        confidence(evidence_of(one.share, one.gains, place), weights) >= weights.threshold
        for one, place in zip(found, first, strict=True)
    ]
    assert all(place == one.right for one, place in zip(found, first, strict=True) if one.has_entry)
    assert sure == [one.has_entry for one in found]


def reports():
    told = [
        case(n, "cross_language", {"text": f"belt slips {n}"}, {"entry": "pell:drive:4"}, kb="zh_only")
        for n in range(30)
    ]
    unknown = [case(100 + n, "no_entry", {"text": f"Door {n} open"}, {"abstain": True}) for n in range(30)]
    same = [case(300, "title", {"text": "Motor hot"}, {"entry": "pell:drive:1"})]
    return told + unknown + same


def test_reports_whose_manual_is_in_the_other_language_are_read_again(tmp_path):
    plan = Plan(data=write_data(tmp_path, reports()), plant=DEMO, embedder=ToyEmbedder())
    result = anyio.run(reread, plan, Knowing(), quiet)
    assert {row[0] for row in result.samples} == {one["id"] for one in reports()} - {"r300"}
    gains = {row[0]: max(row[5]) for row in result.samples}
    assert gains["r1"] == 8.0
    assert gains["r100"] == 0.0
    assert len(result.table) == 2 * len(SHARES)


def test_the_suite_does_not_vanish_where_no_model_is_named(tmp_path, capsys):
    data = write_data(tmp_path, reports())
    assert main(["eval", "--suite", "rereading", "--data", str(data), "--plant", str(DEMO)]) == 1
    assert "no model is named" in capsys.readouterr().err


def test_without_an_embedder_nothing_is_found_across_languages(tmp_path):
    plan = Plan(data=write_data(tmp_path, reports()), plant=DEMO)
    with pytest.raises(EvaluationError, match="without vectors") as caught:
        anyio.run(reread, plan, Knowing(), quiet)
    assert "--bundle" in caught.value.hint
