"""What rereading adds, measured on halves; with readers whose opinion is known."""

import anyio
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.evaluation.evaluation_data import case, write_data
from tests.unit.evaluation.test_run import DEMO, quiet

from lineside.cli import main
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.rereading import SHARES, Reading, rows_of
from lineside.evaluation.suites import Plan, reread


def reading(number, *, knows=True):
    """The search holds two entries for alike and is wrong in half of the cases; a model that knows is not."""
    has_entry, right = number % 3 > 0, number % 2
    gains = [0.0, 0.0]
    if knows and has_entry:
        gains[right] = 30.0
    return Reading(f"r{number}", has_entry, right if has_entry else -1, 0.5, (1.7, 1.69), tuple(gains))


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
    with pytest.raises(EvaluationError, match="nothing to fit to"):
        rows_of([reading(number) for number in range(240) if number % 3])


class Knowing:
    """Holds the text for likely behind an entry that shares a character's name with it."""

    async def behind(self, prompt, texts):
        return [-1.0 if "\u76ae\u5e26" in prompt and "belt" in text else -9.0 for text in texts]


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
    result = anyio.run(reread, plan, "a-model", Knowing(), quiet)
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
        anyio.run(reread, plan, "a-model", Knowing(), quiet)
    assert "--bundle" in caught.value.hint
