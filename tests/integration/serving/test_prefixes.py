"""What is reused of earlier prompts, with real models: exact in fp32."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.support.greedy import PASSAGES, TRAFFIC, VOCAB, generate

from lineside.engine.base import Costs, Extension, PrefixCopy
from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine
from lineside.serving.tokenizer import Tokenizer

TEXT = (
    "A pump moves water from a lower place to a higher one. Its motor turns a wheel, and the wheel throws "
    "the water outwards into the housing. When the bearings of the motor run dry they become hot, and the "
    "drive stops the motor before it is damaged. Let the motor cool down, look whether the fan turns "
    "freely, and clean the filter in front of it. Then measure the current of each phase: the three "
    "should be nearly alike. If one of them is clearly higher than the others, the winding has a fault "
    "and the motor has to be replaced by a new one of the same size."
)


@pytest.fixture(scope="module")
def engines(tiny_fp32_bundle):
    bundle = open_bundle(tiny_fp32_bundle)
    made = [
        OnnxRuntimeEngine(bundle, slots=slots, threads=1, max_chunk_tokens=16, kept_slots=kept)
        for slots, kept in ((2, 2), (1, 0))
    ]
    for engine in made:  # of which chunks are read, not one token after another
        costs = Costs((10**6,) * engine.capabilities.slots, 1, 1)
        engine._capabilities = replace(engine.capabilities, costs=costs)
    yield made
    for engine in made:
        engine.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(traffic=TRAFFIC)
def test_a_real_engine_in_fp32_writes_the_same_with_and_without(engines, traffic):
    """Without: each prompt alone, after one that begins otherwise."""
    reusing, alone = engines
    prompts, counts, joins = zip(*traffic, strict=True)
    written, _ = generate(reusing, prompts, counts, joins)
    for index, prompt in enumerate(prompts):
        expected, reused = generate(alone, [[VOCAB - 1] * 4, prompt], [1, counts[index]], [0, 30])
        assert written[str(index)] == expected["1"]
        assert reused["1"] == 0


def test_with_them_prompts_are_read_in_chunks_and_beginnings_reused(engines, monkeypatch):
    reusing, _ = engines
    lengths, forward = [], reusing.forward

    def told(batch):
        lengths.extend(len(extension.tokens) for extension in batch)
        return forward(batch)

    monkeypatch.setattr(reusing, "forward", told)
    _, reused = generate(reusing, [PASSAGES[0] * 3] * 2, [2, 2], [0, 9])
    assert max(lengths) == reusing.capabilities.max_chunk_tokens
    assert reused["1"] == len(PASSAGES[0]) * 3 - 1


def test_in_int8_a_reused_beginning_costs_no_perplexity(smollm2_bundle):
    """Kernels of chunks and steps differ: compared are how likely the same text is, and the picks."""
    bundle = open_bundle(smollm2_bundle)
    engine = OnnxRuntimeEngine(bundle, slots=1, threads=2, max_chunk_tokens=256, kept_slots=1)
    tokens = Tokenizer(bundle).encode(TEXT)
    begin, count = len(tokens) // 2, len(tokens) - len(tokens) // 2 - 1
    rows = tuple(range(begin, begin + count))
    (whole,) = engine.forward([Extension(0, 0, tokens[:-1], rows)])
    fresh = np.array(whole)
    engine.forward([Extension(0, 0, tokens[: begin - 7], ())])
    engine.copy_prefix(PrefixCopy(0, 1, begin - 7))
    engine.forward([Extension(0, 0, tokens[40:80], ())])
    engine.copy_prefix(PrefixCopy(1, 0, begin - 7))
    (rest,) = engine.forward([Extension(0, begin - 7, tokens[begin - 7 : -1], tuple(range(7, 7 + count)))])
    reused = np.array(rest)
    engine.close()
    expected = tokens[begin + 1 :]
    assert np.mean(fresh.argmax(-1) == reused.argmax(-1)) >= 0.9
    assert perplexity(reused, expected) == pytest.approx(perplexity(fresh, expected), rel=0.02)


def perplexity(logits, tokens):
    """Of `tokens`, each behind the row of its place."""
    below = logits - logits.max(-1, keepdims=True)
    logprobs = below[np.arange(len(tokens)), tokens] - np.log(np.exp(below).sum(-1))
    return float(np.exp(-logprobs.mean()))
