"""The instructions are in the engine's cache before the first report comes, with a real model."""

import time

import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO, PRINCIPAL, ScriptedWriter, writing

from lineside.config import BundleConfig, Config, EngineConfig
from lineside.diagnosis import pipeline as pipeline_module
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.prompt import opening
from lineside.diagnosis.report import parse_report
from lineside.errors import Reason, RejectedError
from lineside.loading import load
from lineside.ports import Call
from lineside.serving.tallies import Tallies

pytestmark = pytest.mark.anyio

REPORT = parse_report((DEMO / "faults/overtemperature.en.json").read_bytes())


@pytest.fixture(scope="module")
def loaded(smollm2_bundle):
    config = Config(bundle=BundleConfig(path=str(smollm2_bundle)), engine=EngineConfig(slots=1, threads=2))
    loaded = load(config)
    yield loaded
    loaded.choice.engine.close()


@pytest.mark.parametrize("warm", [False, True])
async def test_the_first_report_finds_the_instructions_read(loaded, plant, warm, monkeypatch):
    monkeypatch.setattr(pipeline_module, "WARM_UP_S", 30.0)  # this machine may be busy
    tallies = Tallies()
    async with writing(loaded, tallies) as writer:
        pipeline = Pipeline(plant, writer)
        if warm:
            await pipeline.warm_up()
        call = Call(PRINCIPAL, time.monotonic_ns() + int(60e9))
        *_, diagnosis = [event async for event in pipeline.diagnose(REPORT, call)]
    instructions = loaded.tokenizer.count(opening("en")[0].content)
    assert diagnosis.mode == "model"
    assert (tallies.reused_tokens >= instructions) == warm


class Refusing(ScriptedWriter):
    async def warm_up(self, messages, timeout_s):
        self.calls.append(messages)
        raise RejectedError(Reason.OVERLOAD, "no room")


@pytest.mark.parametrize(
    ("options", "asked"),
    [({}, 1), ({"mode": "rules"}, 0), ({"locale": "zh"}, 1), ({"locale": "zh", "languages": ("en",)}, 0)],
)
async def test_it_is_read_where_a_model_answers_and_starting_goes_on_without(plant, caplog, options, asked):
    caplog.set_level("INFO")
    writer = Refusing(languages=options.pop("languages", ("en", "zh")))
    await Pipeline(plant, writer, **options).warm_up()
    assert len(writer.calls) == asked
    assert ("no room" in caplog.text) == bool(asked)
    if asked:
        assert writer.calls[0] == opening(options.get("locale", "en"))


async def test_without_a_model_nothing_is_read(plant):
    await Pipeline(plant).warm_up()
