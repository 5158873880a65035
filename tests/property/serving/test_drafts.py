"""Drafts change how many steps an answer takes, never the answer."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.engines import CountingEngine
from tests.support.inline import run_inline
from tests.support.tiny import tiny_bundle

from lineside.engine.base import Costs, Extension
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import Sampling
from lineside.serving.tokenizer import Tokenizer

VOCAB = 258
DRAWS = 1500
ALWAYS, NEVER = Costs((10**6,) * 4, 1, 1), Costs((1,) * 4, 10**9, 10**9)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 8}, "b": {"enum": ["xyz", "xyw", "z"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
)


class QuotingEngine(CountingEngine):
    """Likeliest is what followed the same two tokens before; every other token is possible, too."""

    def _extend(self, extension):
        logits = super()._extend(extension)
        cache = self._caches[extension.slot]
        for index, row in enumerate(extension.rows):
            before = cache[: extension.past_len + row + 1]
            logits[index] = np.sin(np.arange(VOCAB) * (1 + sum(before) % 7)) * 2
            places = [p for p in range(2, len(before)) if before[p - 2 : p] == before[-2:]]
            if places:
                logits[index, before[places[-1]]] += 6
        return logits


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    bundle = tiny_bundle(tmp_path_factory.mktemp("drafts"), max_seq_len=120)
    tokenizer = Tokenizer(bundle)
    return tokenizer, GrammarCompiler(tokenizer, VOCAB, bundle.manifest.tokens.eos)


def answers(text, jobs, costs):
    engine = QuotingEngine(vocab_size=VOCAB, max_seq_len=120, slots=4, kept_slots=1, costs=costs)
    return run_inline(engine, text, jobs)


PROMPTS = st.lists(
    st.sampled_from(["the pump stops. ", "the fan turns. ", '{"a":"the ', "xyz "]), min_size=1
).map(lambda parts: "".join(parts)[:60])


@settings(max_examples=25, deadline=None)
@given(
    jobs=st.lists(
        st.tuples(
            PROMPTS,
            st.integers(1, 30),
            st.sampled_from([0.0, 0.0, 0.7, 1.5]),
            st.integers(0, 99),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_same_tokens_with_and_without_greedy_sampled_and_guided(text, jobs):
    wanted = [
        (prompt, Sampling(max_tokens=most, temperature=heat, seed=seed), SCHEMA if guided else None)
        for prompt, most, heat, seed, guided in jobs
    ]
    drafted, plain = answers(text, wanted, ALWAYS), answers(text, wanted, NEVER)
    for one, other in zip(drafted, plain, strict=True):
        assert one.tokens == other.tokens
        assert one.end.finish == other.end.finish
        assert one.end.usage.completion_tokens == other.end.usage.completion_tokens
        assert other.end.usage.drafted_tokens == 0


def test_quotes_are_drafted_and_accepted(text):
    (one,) = answers(text, [("the pump stops. the pump ", Sampling(max_tokens=30), None)], ALWAYS)
    usage = one.end.usage
    assert usage.accepted_tokens > 15
    assert usage.drafted_tokens >= usage.accepted_tokens


def test_drawn_tokens_keep_their_distribution(text):
    """Three tokens behind a quote, over many seeds; expected from the engine's own logits."""
    prompt, tokenizer = "abcabcab", text[0]
    jobs = [(prompt, Sampling(max_tokens=4, temperature=1.2, seed=seed), None) for seed in range(DRAWS)]
    ran = answers(text, jobs, ALWAYS)
    assert sum(one.end.usage.accepted_tokens for one in ran) > 200
    assert sum(one.end.usage.drafted_tokens - one.end.usage.accepted_tokens for one in ran) > 200
    seen = Counter(tuple(one.tokens[:3]) for one in ran)
    paths = {(): 1.0}
    for _ in range(3):
        paths = {
            (*path, int(token)): chance * after[token]
            for path, chance in paths.items()
            for after in [chances([*tokenizer.encode(prompt), *path])]
            for token in np.argsort(-after)[:2]
        }
    for path, chance in paths.items():
        spread = np.sqrt(DRAWS * chance * (1 - chance))
        assert abs(seen[path] - DRAWS * chance) < 4.5 * spread + 1, path


def chances(tokens):
    """What the engine's logits at this temperature mean."""
    engine = QuotingEngine(vocab_size=VOCAB, max_seq_len=120, max_chunk_tokens=120)
    (rows,) = engine.forward([Extension(0, 0, tokens, (len(tokens) - 1,))])
    weights = np.exp((rows[0] - rows[0].max()) / 1.2)
    return weights / weights.sum()
