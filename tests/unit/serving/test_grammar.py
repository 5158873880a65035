import json

import numpy as np
import pytest
from tests.support.tiny import tiny_bundle
from tokenizers.decoders import Fuse

from lineside.errors import Reason, RejectedError
from lineside.serving.grammar import MAX_SCHEMA_BYTES, GrammarCompiler
from lineside.serving.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def tokenizer(bundle):
    return Tokenizer(bundle)


@pytest.fixture(scope="module")
def compiler(bundle, tokenizer):
    manifest = bundle.manifest
    return GrammarCompiler(tokenizer, manifest.geometry.vocab_size, manifest.tokens.eos)


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"ref": {"enum": ["K1", "K2"]}},
        "required": ["ref"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
)


def test_a_tokenizer_that_is_not_of_bytes_is_read_from_its_file(bundle):
    other = Tokenizer(bundle)
    other._tokenizer.decoder = Fuse()
    assert other.token_bytes() == []
    manifest = bundle.manifest
    grammar = GrammarCompiler(other, manifest.geometry.vocab_size, manifest.tokens.eos).compile(SCHEMA)
    assert grammar.take_forced()


def test_of_a_draft_as_much_fits_as_is_allowed_and_nothing_is_accepted(compiler, tokenizer):
    grammar = compiler.compile(SCHEMA)
    draft = tokenizer.encode('{"ref":"K2"}')
    assert grammar.fits(draft) == len(draft)
    assert grammar.fits(tokenizer.encode('{"ref":"K3"}')) == len('{"ref":"K')
    assert grammar.fits([]) == 0
    assert grammar.take_forced() == tokenizer.encode('{"ref":"K')


def test_forced_tokens_run_up_to_the_first_choice(compiler, tokenizer):
    grammar = compiler.compile(SCHEMA)
    forced = grammar.take_forced()
    assert tokenizer.stream().push(forced) == '{"ref":"K'
    assert grammar.take_forced() == []


def test_only_the_enumerated_values_are_allowed(compiler, tokenizer):
    grammar = compiler.compile(SCHEMA)
    grammar.take_forced()
    allowed = {tokenizer.stream().push([int(token)]) for token in np.flatnonzero(grammar.allowed())}
    assert allowed == {"1", "2"}


def test_the_grammar_is_complete_after_its_last_token(compiler, tokenizer):
    grammar = compiler.compile(SCHEMA)
    grammar.take_forced()
    assert not grammar.complete
    (token,) = tokenizer.encode("2")
    grammar.accept(token)
    assert tokenizer.stream().push(grammar.take_forced()) == '"}'
    assert grammar.complete


@pytest.mark.parametrize("schema", ["{", '{"type": "nothing"}', '{"$ref": "#/absent"}'])
def test_a_schema_that_cannot_be_used_is_invalid_and_names_the_field(compiler, schema):
    with pytest.raises(RejectedError) as caught:
        compiler.compile(schema)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "json_schema")


def test_the_size_of_a_schema_is_bounded(compiler):
    padding = " " * (MAX_SCHEMA_BYTES - len(SCHEMA))
    compiler.compile(SCHEMA + padding)
    with pytest.raises(RejectedError) as caught:
        compiler.compile(SCHEMA + padding + " ")
    assert caught.value.reason is Reason.TOO_LONG
