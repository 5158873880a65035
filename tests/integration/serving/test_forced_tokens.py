"""Where forced tokens meet chosen ones, with a real tokenizer: cached is what reading the text would give."""

import itertools
import json

import numpy as np
import pytest
from tests.unit.diagnosis.test_guide import guide

from lineside.engine.bundle import open_bundle
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import EndEvent, FinishReason, Principal, Request, Sampling
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import Tokenizer

# One entry, two of which the model may pick or none, and one whose list begins with two of five.
GUIDES = [guide((2, 2)), guide((3, 3), (2, 4), open_=True), guide((5, 0), (1, 1))]
CAUSES = ["过载", "过热", "电机过热", "电机轴承过热", "编码器断线"]
LEVELS = ["高", "高危", "低"]
CHINESE = {
    "原因": {"enum": CAUSES},
    "级别": {"enum": LEVELS},
    "措施": {"const": "停机，断电并上锁"},
}


def compact(answer):
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def chinese_schema():
    fixed = {"required": list(CHINESE), "additionalProperties": False}
    return json.dumps(
        {"type": "object", "properties": CHINESE, **fixed} | {"x-guidance": {"whitespace_flexible": False}}
    )


def offered(property_schema):
    shapes = property_schema.get("anyOf", [property_schema])
    return property_schema.get("enum") or [shape["const"] for shape in shapes]


def answers(schema):
    """Every text that a schema of objects allows."""
    for shape in schema.get("anyOf", [schema]):
        properties = shape["properties"]
        for values in itertools.product(*map(offered, properties.values())):
            yield compact(dict(zip(properties, values, strict=True)))


SCHEMAS = [*(one.schema() for one in GUIDES), chinese_schema()]


@pytest.fixture(scope="module")
def text(smollm2_bundle):
    bundle = open_bundle(smollm2_bundle)
    tokenizer = Tokenizer(bundle)
    vocab = bundle.manifest.geometry.vocab_size
    return tokenizer, GrammarCompiler(tokenizer, vocab, bundle.manifest.tokens.eos), vocab


def written(text, schema, sampling, logits_after):
    """Tokens and text of an answer whose next token follows from `logits_after` what it has so far."""
    tokenizer, grammars, _ = text
    grammar, accepted, events = grammars.compile(schema), [], []
    accept = grammar.accept
    grammar.accept = lambda token: accepted.append(token) or accept(token)
    request = Request("r", (1,), 1, Principal("p", "t"), sampling, schema)
    generation = Generation(request, tokenizer, grammar, 512, events.append, 0)
    cached = generation.open(0)[1:]
    while not events or not isinstance(events[-1], EndEvent):
        assert cached == accepted
        cached += generation.take(logits_after(cached)[None], 0)
    assert events[-1].finish is FinishReason.STOP
    assert events[-1].usage.forced_tokens > 0
    return accepted, "".join(event.text for event in events[:-1])


@pytest.mark.parametrize("schema", SCHEMAS)
def test_forced_and_chosen_tokens_are_those_of_the_whole_text(text, schema):
    tokenizer, _, vocab = text
    for answer in answers(json.loads(schema)):
        expected = tokenizer.encode_more(answer)

        def as_expected(tokens, expected=expected):
            assert tokens == expected[: len(tokens)]
            return np.eye(1, vocab, expected[len(tokens)], dtype=np.float32)[0]

        assert written(text, schema, Sampling(), as_expected) == (expected, answer)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_whatever_tokens_a_model_chooses_the_text_is_one_that_is_offered(text, schema):
    tokenizer, _, vocab = text
    allowed = set(answers(json.loads(schema)))
    for seed in range(30):
        sampling = Sampling(temperature=1.0, seed=seed)
        tokens, answer = written(text, schema, sampling, lambda _: np.zeros(vocab, np.float32))
        assert answer in allowed
        assert (
            tokenizer.stream().push(tokenizer.encode_more(answer))
            == tokenizer.stream().push(tokens)
            == answer
        )
