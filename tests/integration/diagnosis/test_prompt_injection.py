"""Reports and manuals that try to steer the answer, by rules and with a real model."""

import dataclasses

import msgspec
import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO, call, run
from tests.support.hostile_texts import HOSTILE, HOSTILE_EN, SMOOTH

from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.options import options_of
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.report import parse_report
from lineside.diagnosis.rules import SEVERITIES, answer_by_rules
from lineside.diagnosis.support import unsupported
from lineside.diagnosis.work import names_safety_function
from lineside.evaluation.model import open_model

pytestmark = pytest.mark.anyio

OVERTEMP = parse_report((DEMO / "faults/overtemperature.en.json").read_bytes())
BARE = msgspec.structs.replace(OVERTEMP, log=(), values=(), win=())
REPLACE = msgspec.structs.replace
EXCHANGE = ("diagnosis_id", "received_at", "timings", "time_quality")


def in_log(report, text):
    return REPLACE(report, log=(*report.log, text))


def in_alarm(report, text):
    return REPLACE(report, alarm=REPLACE(report.alarm, text=text))


def in_device(report, text):
    return REPLACE(report, dev=REPLACE(report.dev, type=text[:128]))


PLACES = (in_log, in_alarm, in_device)


def by_rules(plant, report, language):
    return answer_by_rules(report, plant.search(Query.of(report)), language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", HOSTILE)
def test_by_rules_nothing_changes(plant, text, place, language):
    for report in (OVERTEMP, BARE):
        clean = in_alarm(report, "") if place is in_alarm else report
        assert by_rules(plant, place(report, text), language) == by_rules(plant, clean, language)


@pytest.mark.parametrize("text", HOSTILE)
def test_alone_it_finds_nothing(plant, text):
    report = in_alarm(REPLACE(BARE, alarm=REPLACE(BARE.alarm, code="")), text)
    answer = by_rules(plant, report, "en")
    assert (answer.status, answer.causes, answer.checks) == ("abstain", (), ())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_manual_decides_no_more_than_any_other(plant, text):
    """It is quoted as the manual's words; kind, isolation, severity and safety stay the code's."""
    found = plant.search(Query.of(OVERTEMP))
    entry = found.candidates[0].entry
    spoilt = REPLACE(entry, en=REPLACE(entry.en, meaning=text))
    answers = [answer_by_rules(OVERTEMP, _with(found, one), "en") for one in (entry, spoilt)]
    if names_safety_function(text):
        assert (answers[1].causes, {check.kind for check in answers[1].checks}) == ((), {"inspect"})
        return
    for part in ("status", "severity", "safety", "causes", "checks", "conf", "wo"):
        assert getattr(answers[0], part) == getattr(answers[1], part)


def _with(found, entry):
    first = dataclasses.replace(found.candidates[0], entry=entry)
    return dataclasses.replace(found, candidates=(first, *found.candidates[1:]))


def same(one, other):
    return REPLACE(one, **{name: getattr(other, name) for name in EXCHANGE}) == other


async def test_with_a_real_model_nothing_changes(plant, smollm2_bundle):
    async with open_model(smollm2_bundle) as model:
        pipeline = Pipeline(plant, model.writer, reader=model.reader)

        async def ask(report):
            return (await run(pipeline, report, call(60)))[-1]

        clean = await ask(BARE)
        assert clean.mode == "model"
        for texts in (HOSTILE[:20], HOSTILE[-20:], HOSTILE_EN[:1]):
            assert same(await ask(REPLACE(BARE, log=texts)), clean), texts
        assert same(await ask(in_device(BARE, HOSTILE_EN[0])), await ask(in_device(BARE, "")))
        assert same(await ask(in_alarm(BARE, HOSTILE_EN[0])), await ask(in_alarm(BARE, "")))


async def test_what_cannot_be_told_from_a_machines_words_brings_none_of_its_own(plant, smollm2_bundle):
    entries = [option.entry for option in options_of(plant.search(Query.of(BARE)), "en")]
    async with open_model(smollm2_bundle) as model:
        pipeline = Pipeline(plant, model.writer, reader=model.reader)
        clean = (await run(pipeline, BARE, call(60)))[-1]
        report = REPLACE(BARE, log=SMOOTH)
        found = (await run(pipeline, report, call(60)))[-1]
        assert (found.mode, unsupported(found, entries, report)) == ("model", [])
        assert set(found.causes) == set(clean.causes)
        assert set(found.checks) == set(clean.checks)
        assert found.safety == clean.safety
        assert SEVERITIES.index(found.severity) >= SEVERITIES.index("high")
