"""Drafts with a real model in fp32: fewer steps, the same tokens."""

from dataclasses import replace

import pytest
from tests.support.inline import run_inline

from lineside.engine.base import Costs
from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import Sampling
from lineside.serving.tokenizer import Tokenizer

# Between tokens that are drawn from few, what was written before comes again.
DRAWN = {"top_k": 2, "seed": 5}


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_same_tokens_in_fewer_steps(tiny_fp32_bundle, monkeypatch, temperature):
    bundle = open_bundle(tiny_fp32_bundle)
    tokenizer = Tokenizer(bundle)
    vocab = bundle.manifest.geometry.vocab_size
    text = tokenizer, GrammarCompiler(tokenizer, vocab, bundle.manifest.tokens.eos)
    heard, calls = [], []
    for costs in (Costs((10**6,) * 2, 1, 1), Costs((1,) * 2, 10**9, 10**9)):
        engine = OnnxRuntimeEngine(bundle, slots=2, threads=1, max_chunk_tokens=32)
        engine._capabilities = replace(engine.capabilities, costs=costs)
        ran, forward = [], engine.forward
        monkeypatch.setattr(
            engine, "forward", lambda batch, ran=ran, run=forward: ran.append(1) or run(batch)
        )
        sampling = Sampling(max_tokens=45, temperature=temperature, **DRAWN)
        heard.append(run_inline(engine, text, [("abab", sampling, None), ("aa", sampling, None)]))
        calls.append(len(ran))
        engine.close()
    drafted, plain = heard
    assert [one.tokens for one in drafted] == [one.tokens for one in plain]
    assert sum(one.end.usage.accepted_tokens for one in drafted) > 0
    assert calls[0] < calls[1]
