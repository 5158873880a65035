"""Tiny reasoning models with random weights, built, loaded and asked as real ones are."""

import json
import time
from contextlib import asynccontextmanager

import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO, PRINCIPAL
from tests.unit.models.published_configs import write_published

from lineside.config import BundleConfig, Config, EngineConfig
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.report import parse_report
from lineside.loading import load
from lineside.ports import Call, ChatMessage, GenerateJob, Written
from lineside.serving.request import Sampling
from lineside.serving.service import GenerationService
from lineside.writer import writer_of
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint

pytestmark = pytest.mark.anyio

REPORT = parse_report((DEMO / "faults/overtemperature.en.json").read_bytes())
SCHEMA = json.dumps({"x-guidance": {"whitespace_flexible": False}, "enum": [1, 2]})
MAX_SEQ_LEN = 4096  # the tiny vocabulary has hardly a word


@pytest.fixture(
    scope="module", params=["deepseek-r1-distill-qwen-1.5b", "deepseek-r1-0528-qwen3-8b", "qwen3-0.6b"]
)
def loaded(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("thinking")
    write_published(directory / "hf", request.param, max_position_embeddings=131072)
    options = BuildOptions(
        name=request.param, languages=("en", "zh"), licence="x", weights="fp32", max_seq_len=MAX_SEQ_LEN
    )
    checkpoint = open_checkpoint(directory / "hf")
    build_bundle(checkpoint, directory / "b", options, lambda _: None)
    engine = EngineConfig(slots=1, threads=1)
    loaded = load(Config(bundle=BundleConfig(path=str(directory / "b")), engine=engine))
    yield loaded
    loaded.choice.engine.close()


@asynccontextmanager
async def serving(loaded):
    engine, texts = loaded.choice.engine, (loaded.tokenizer, loaded.grammars)
    service = GenerationService(engine, *texts, max_waiting=4, on_failure=pytest.fail)
    try:
        yield service
    finally:
        await service.drain(5)


def call():
    return Call(PRINCIPAL, time.monotonic_ns() + int(60e9))


@pytest.mark.parametrize("thinking", [None, 0, 40])
async def test_a_diagnosis_is_guided_after_the_thought_and_shows_none_of_it(loaded, plant, thinking):
    async with serving(loaded) as service:
        writer = writer_of(service, loaded.bundle.manifest, thinking)
        pipeline = Pipeline(plant, writer, mode="model")
        events = [event async for event in pipeline.diagnose(REPORT, call())]
    text = "".join(event.text for event in events if isinstance(event, Written))
    diagnosis = events[-1]
    assert (diagnosis.mode, diagnosis.status, diagnosis.message) == ("model", "ok", "")
    assert json.loads(text)["entry"] == "K1"
    assert text.startswith("{")
    assert "think" not in json.dumps([text, str(diagnosis)])


@pytest.mark.parametrize("show", [False, True])
async def test_a_generation_shows_the_thought_only_to_who_asks(loaded, show):
    job = GenerateJob(
        call(),
        messages=(ChatMessage("user", "which?"),),
        sampling=Sampling(max_tokens=60),
        json_schema=SCHEMA,
        thinking_tokens=25,
        show_thinking=show,
    )
    async with serving(loaded) as service:
        *tokens, end = [event async for event in service.generate(job)]
    answer = "".join(event.text for event in tokens if not event.thinking)
    thought = "".join(event.text for event in tokens if event.thinking)
    assert json.loads(answer) in (1, 2)
    assert 1 <= end.usage.thinking_tokens <= 25 + 4
    assert bool(thought) == show
    assert "</think>" not in answer
    assert thought.endswith("</think>\n\n") == show


async def test_a_budget_that_leaves_no_room_for_the_prompt_is_answered_by_rules(loaded, plant):
    async with serving(loaded) as service:
        writer = writer_of(service, loaded.bundle.manifest, MAX_SEQ_LEN)
        *_, diagnosis = [
            event async for event in Pipeline(plant, writer, mode="model").diagnose(REPORT, call())
        ]
    assert (diagnosis.mode, diagnosis.status) == ("rules", "ok")
    assert "no prompt fits" in diagnosis.message
