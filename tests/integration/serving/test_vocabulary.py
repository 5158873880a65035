import llguidance
import pytest

from lineside.engine.bundle import open_bundle
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
