import json

import msgspec
import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO

from lineside.diagnosis.answers import language_of
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.options import options_of
from lineside.diagnosis.report import Report
from lineside.diagnosis.rules import answer_by_rules
from lineside.diagnosis.work import may_be_suggested

REPORTS = [json.loads(line) for line in (DEMO / "reports.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("case", REPORTS, ids=lambda case: f"{case['id']}-{case['kind']}-{case['lang']}")
def test_every_labelled_report_is_answered_as_labelled(plant, case):
    report = msgspec.convert(case["report"], Report)
    found = plant.search(Query.of(report))
    expected = case["expect"]
    ids = [candidate.entry.id for candidate in found.candidates]
    if "entry" in expected:
        assert (found.verdict, ids[0]) == ("hit", expected["entry"])
    elif "conflict" in expected:
        assert (found.verdict, sorted(ids)) == ("conflict", sorted(expected["conflict"]))
    else:
        assert found.verdict == "none"
    answer = answer_by_rules(report, found, language_of(report.locale, "en"))
    assert answer.status == ("ok" if "entry" in expected else "abstain")


def test_the_labels_cover_every_outcome():
    assert {name for case in REPORTS for name in case["expect"]} == {"entry", "conflict", "abstain"}
    assert {case["lang"] for case in REPORTS} == {"en", "zh"}


def test_every_entry_is_found_by_its_own_code_and_title(plant):
    with plant.store.snapshot() as snapshot:
        entries = list(snapshot.all())
    for entry in entries:
        device = {"vendor": entry.vendor, "model": entry.model, "unit": entry.unit}
        by_code = plant.search(Query(code=entry.code, **device))
        assert (by_code.verdict, by_code.candidates[0].entry.id) == ("hit", entry.id)
        for text in entry.texts:
            by_text = plant.search(Query(text=text.title, **device))
            assert (by_text.verdict, by_text.candidates[0].entry.id) == ("hit", entry.id)


def test_no_answer_of_the_plant_suggests_a_way_round_a_protection(plant):
    with plant.store.snapshot() as snapshot:
        entries = list(snapshot.all())
    checked = 0
    for entry in entries:
        found = plant.search(Query(code=entry.code, vendor=entry.vendor, model=entry.model, unit=entry.unit))
        for language in ("en", "zh"):
            for option in options_of(found, language):
                for action in option.actions:
                    checked += 1
                    assert may_be_suggested(action, safety_function=option.safety_function)
    assert checked > 200
