import json

import llguidance
import pytest

from lineside.engine.bundle import open_bundle
from lineside.serving import grammar
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.tokenizer import Tokenizer


@pytest.mark.parametrize("name", ["tiny_fp32_bundle", "smollm2_bundle"])
def test_a_grammar_s_tokens_are_those_that_llguidance_reads_from_the_file(request, name):
    bundle = open_bundle(request.getfixturevalue(name))
    tokenizer, eos = Tokenizer(bundle), bundle.manifest.tokens.eos
    # Wider than the tokenizer, as most models' logits are.
    vocab = bundle.manifest.geometry.vocab_size + 100
    own = GrammarCompiler(tokenizer, vocab, eos)._vocabulary
    read = llguidance.LLTokenizer(tokenizer.file, n_vocab=vocab, eos_token=list(eos))
    assert len(tokenizer.token_bytes()) <= vocab - 100
    assert (own.vocab_size, own.eos_tokens) == (read.vocab_size, read.eos_tokens)
    for number in range(vocab):
        assert own.decode_bytes([number]) == read.decode_bytes([number])
        special = read.is_special_token(number) or number in tokenizer.added_ids
        assert own.is_special_token(number) == special
    for text in ('{"ref":"K1"}', "过载 0x10032", "<|im_end|>"):
        assert own.tokenize_str(text) == read.tokenize_str(text) == tokenizer.encode_more(text)


DOCUMENT = {"cause": "过载: the drive's motor is too hot, again\n", "ref": "K1", "checks": [1, "a b"]}
SCHEMAS = [
    {"type": "object"},
    {
        "type": "object",
        "properties": {
            "cause": {"type": "string", "maxLength": 60},
            "ref": {"type": "string", "maxLength": 9},
            "checks": {"type": "array"},
        },
        "required": ["cause", "ref", "checks"],
    },
]


def test_what_is_known_in_advance_allows_the_same_tokens(smollm2_bundle, monkeypatch):
    bundle = open_bundle(smollm2_bundle)
    tokenizer, eos = Tokenizer(bundle), bundle.manifest.tokens.eos
    vocab = bundle.manifest.geometry.vocab_size
    quick = GrammarCompiler(tokenizer, vocab, eos)
    monkeypatch.setattr(grammar, "SLICES", ())
    plain = GrammarCompiler(tokenizer, vocab, eos)
    for schema in map(json.dumps, SCHEMAS):
        ours, theirs = quick.compile(schema), plain.compile(schema)
        for token in tokenizer.encode(json.dumps(DOCUMENT, ensure_ascii=False, indent=1)):
            assert (ours.allowed() == theirs.allowed()).all()
            ours.accept(token)
            theirs.accept(token)
