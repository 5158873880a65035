"""Manuals' entries are in the engine's cache before a report on them comes, with a real model and base."""

import time
from collections import Counter
from contextlib import asynccontextmanager

import anyio
import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO, PRINCIPAL, writing

from lineside.config import BundleConfig, Config, DiagnosisConfig, EngineConfig
from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.prompt import beginnings
from lineside.diagnosis.report import parse_report
from lineside.loading import load
from lineside.ports import Call, GenerateJob
from lineside.reading_ahead import ReadingAhead, as_first
from lineside.serving.request import Sampling
from lineside.serving.tallies import Tallies

pytestmark = pytest.mark.anyio

REPORT = parse_report((DEMO / "faults/overtemperature.en.json").read_bytes())
PLACES = 3


@pytest.fixture(scope="module")
def loaded(smollm2_bundle):
    engine = EngineConfig(slots=1, threads=2, kept_entries=PLACES)
    bundle = BundleConfig(str(smollm2_bundle))
    loaded = load(Config(bundle=bundle, engine=engine, diagnosis=DiagnosisConfig("model")))
    assert loaded.choice.engine.capabilities.lasting_slots == PLACES
    yield loaded
    loaded.choice.engine.close()


@asynccontextmanager
async def reading(loaded, store, locale="en"):
    """What reads ahead, its writer, and what is counted."""
    counted, tallies = Counter(), Tallies()
    async with writing(loaded, tallies) as writer:
        ahead = ReadingAhead(store, writer, locale, PLACES, lambda name: counted.update([name]))
        yield ahead, writer, counted, tallies


async def read_all(ahead):
    while await ahead.read_next():
        pass


async def is_read(writer, entry, language="en"):
    tokens = await writer.beginning(*beginnings(as_first(entry, language), language))
    return writer.service.cached(tokens) >= len(tokens) - 1


def call(seconds=60):
    return Call(PRINCIPAL, time.monotonic_ns() + int(seconds * 1e9))


async def diagnosed(pipeline, report=REPORT):
    *_, diagnosis = [event async for event in pipeline.diagnose(report, call())]
    assert diagnosis.mode == "model"
    return diagnosis


def entries_of(store):
    with store.snapshot() as base:
        return list(base.all())


async def test_a_report_on_an_entry_that_was_read_reads_itself_alone(loaded, plant):
    asked = []
    async with reading(loaded, plant.store) as (_, writer, _, tallies):
        pipeline = Pipeline(plant, writer, on_asked=lambda *about: asked.append(about))
        unread = await diagnosed(pipeline)
        assert tallies.reused_tokens == 0
    ((entry, language),) = asked
    assert (entry.citation, language) == ("conveyor-drive#F012", "en")
    async with reading(loaded, plant.store) as (ahead, writer, counted, tallies):
        ahead.asked(entry, language)
        await read_all(ahead)
        assert counted["entries_read_ahead"] == PLACES
        read = await diagnosed(Pipeline(plant, writer))
        tokens = await writer.beginning(*beginnings(as_first(entry, language), language))
        assert tallies.reused_tokens >= len(tokens)
    assert (read.causes, read.checks, read.severity) == (unread.causes, unread.checks, unread.severity)


async def test_as_many_as_there_is_room_for_and_each_once(loaded, plant):
    async with reading(loaded, plant.store) as (ahead, writer, counted, _):
        await read_all(ahead)
        assert not await ahead.read_next()
        first = entries_of(plant.store)[:PLACES]
        assert [await is_read(writer, entry) for entry in first] == [True] * PLACES
        await read_all(ahead)
        assert counted["entries_read_ahead"] == PLACES


async def test_what_was_asked_for_last_comes_first(loaded, plant):
    async with reading(loaded, plant.store) as (ahead, writer, _, _):
        asked = entries_of(plant.store)[-PLACES - 1 :]
        for entry in asked:
            ahead.asked(entry, "en")
        await read_all(ahead)
        assert [await is_read(writer, entry) for entry in asked[1:]] == [True] * PLACES


async def test_nothing_is_read_while_anybody_asks(loaded, plant):
    async with reading(loaded, plant.store) as (ahead, writer, counted, _):
        job = GenerateJob(call(), prompt="Name a pump.", sampling=Sampling(max_tokens=40))
        events = writer.service.generate(job)
        await anext(events)
        assert not await ahead.read_next()
        await events.aclose()
        while writer.service.live:
            await anyio.sleep(0.01)
        assert await ahead.read_next()
        assert counted["entries_read_ahead"] == 1


async def test_new_manuals_are_read_in_the_place_of_the_old(loaded, tmp_path):
    manuals, base = sorted((DEMO / "knowledge").glob("*.yaml")), tmp_path / "knowledge.db"
    store = Store(base)
    async with reading(loaded, store) as (ahead, writer, counted, _):
        assert not await ahead.read_next(), "there are none"
        import_files(base, manuals[:1], ImportOptions(approve_by="tests"))
        await read_all(ahead)
        assert counted["entries_read_ahead"] == PLACES
        assert all([await is_read(writer, entry) for entry in entries_of(store)[:PLACES]])


async def test_an_entry_that_no_prompt_could_begin_with_keeps_no_other_from_being_read(loaded, plant):
    words = Text(title="Much to say", causes=("word " * 48,) * 40, actions=("a", "b"))
    long = Entry(source="other", code="X2", en=words, zh=None)
    async with reading(loaded, plant.store) as (ahead, _, counted, _):
        await ahead.read_next()
        ahead.asked(long, "en")
        await read_all(ahead)
        assert counted["entries_read_ahead"] == PLACES - 1


async def test_in_a_language_that_the_model_does_not_write_nothing_is(loaded, plant):
    async with reading(loaded, plant.store, "zh") as (ahead, writer, _, _):
        assert "zh" not in writer.languages
        assert not await ahead.read_next()


async def test_nobody_waits_for_what_cannot_be_read_now(loaded, plant):
    async with reading(loaded, plant.store) as (ahead, writer, counted, _):
        await writer.service.drain(5)
        async with anyio.create_task_group() as group:
            group.start_soon(ahead.run)
            await anyio.sleep(1.5)
            group.cancel_scope.cancel()
        assert not counted
