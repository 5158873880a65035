"""Likelihoods of a real small model against those of a reader that reads everything at once."""

import anyio
import numpy as np
import pytest
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside.engine.base import Extension
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.likelihood import INSTRUCTION, NO_QUESTION, open_scorer
from lineside.evaluation.sensoriq import Question
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint

QUESTION = Question(
    id=1,
    question="Which sensor tells of a hot bearing?",
    options=("temperature", "oil debris", "coast down time"),
    correct=(True, False, False),
    asset_name="fan",
)


def at_once(scorer, question, option):
    engine, tokenizer = scorer._engine, scorer._tokenizer
    prompt = tokenizer.encode(tokenizer.chat([("user", f"{question} {INSTRUCTION}")]))
    target = tokenizer.encode_more(option)
    tokens = [*prompt, *target]
    rows = tuple(range(len(prompt) - 1, len(tokens) - 1))
    (logits,) = engine.forward([Extension(0, 0, tokens, rows)])
    table = np.asarray(logits, np.float64)
    sums = np.log(np.exp(table - table.max(axis=1, keepdims=True)).sum(axis=1)) + table.max(axis=1)
    return float((table[np.arange(len(target)), target] - sums).sum())


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", Tiny("qwen2")))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", weights="fp32", max_seq_len=160)
    build_bundle(checkpoint, directory / "bundle", options, lambda _: None)
    return directory / "bundle"


def test_options_read_behind_a_cached_question_are_as_likely_as_read_at_once(tiny_bundle):
    async def run():
        async with open_scorer(tiny_bundle) as scorer:
            found = await scorer.likelihoods(QUESTION)
            priors = await scorer.priors(QUESTION)
            assert await scorer.priors(QUESTION) == priors
            expected = [at_once(scorer, QUESTION.question, option) for option in QUESTION.options]
            expected_priors = [at_once(scorer, NO_QUESTION, option) for option in QUESTION.options]
        assert found == pytest.approx(expected, abs=1e-3)
        assert priors == pytest.approx(expected_priors, abs=1e-3)
        assert all(one < 0 for one in found)

    anyio.run(run)


def test_a_question_that_does_not_fit_is_refused(tiny_fp32_bundle):
    async def run():
        async with open_scorer(tiny_fp32_bundle) as scorer:
            await scorer.likelihoods(QUESTION)

    with pytest.raises(EvaluationError, match="the bundle takes 64") as caught:
        anyio.run(run)
    assert "--max-seq-len" in caught.value.hint
