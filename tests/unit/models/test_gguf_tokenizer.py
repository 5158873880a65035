from __future__ import annotations

import json

import pytest
from tests.unit.models.tiny_checkpoints import (
    END,
    START,
    TEMPLATE,
    TEXT_END,
    TOKENS,
    Tiny,
    write_gguf,
    write_huggingface,
)
from tokenizers import Tokenizer

from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import CheckpointError
from lineside_models.tokenizer import read_text_side

IDS = {token: number for number, token in enumerate(TOKENS)}


def gguf_text(tmp_path, pre: str):
    return read_text_side(open_checkpoint(write_gguf(tmp_path / "t.gguf", Tiny("qwen2"), pre=pre)))


def test_gguf_tokenizer_template_and_end_tokens(tmp_path) -> None:
    text = gguf_text(tmp_path, "qwen2")
    assert text.chat_template == TEMPLATE
    assert text.tokens.eos == (IDS[END], IDS[TEXT_END])
    assert text.tokens.bos is None
    tokenizer = Tokenizer.from_str(text.tokenizer_json)
    ids = tokenizer.encode(f"{START}on the tin{END}", add_special_tokens=False).ids
    assert [tokenizer.id_to_token(i) for i in ids] == [START, "on", "Ġthe", "Ġt", "in", END]
    assert tokenizer.decode(ids) == "on the tin"
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"{START}on the tin{END}"


def test_padding_rows_are_no_text(tmp_path) -> None:
    tokenizer = Tokenizer.from_str(gguf_text(tmp_path, "qwen2").tokenizer_json)
    assert tokenizer.token_to_id("[PAD0]") is None
    assert len(tokenizer.encode("[PAD0]").ids) == 6


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["a", "1", "2", "3", "Ġ", "4", "Ġb"]),
        ("qwen2", ["a", "1", "2", "3", "Ġ", "4", "Ġb"]),
        ("deepseek-r1-qwen", ["a", "1", "2", "3", "Ġ", "4", "Ġb"]),
        ("llama-bpe", ["a", "123", "Ġ", "4", "Ġb"]),
    ],
)
def test_text_is_cut_as_the_model_was_trained(tmp_path, pre: str, pieces: list[str]) -> None:
    tokenizer = Tokenizer.from_str(gguf_text(tmp_path, pre).tokenizer_json)
    assert [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("a123 4 b")] == pieces


def test_qwen2_composes_characters_and_smollm_does_not(tmp_path) -> None:
    decomposed = "e\u0301"
    qwen = Tokenizer.from_str(gguf_text(tmp_path, "qwen2").tokenizer_json)
    assert qwen.encode(decomposed).ids == qwen.encode("\u00e9").ids
    smollm = Tokenizer.from_str(gguf_text(tmp_path, "smollm").tokenizer_json)
    assert smollm.encode(decomposed).ids != smollm.encode("\u00e9").ids


def test_unknown_pre_tokenizer_is_named(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="pre-tokenizer tekken") as caught:
        gguf_text(tmp_path, "tekken")
    assert "smollm" in caught.value.hint


def test_huggingface_tokenizer_is_taken_as_it_is(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [IDS[END], IDS[START]]}))
    text = read_text_side(open_checkpoint(path))
    assert text.tokenizer_json == (path / "tokenizer.json").read_text("utf-8")
    assert text.chat_template == TEMPLATE
    assert set(text.tokens.eos) == {IDS[END], IDS[TEXT_END], IDS[START]}
    assert text.tokens.bos is None


def test_huggingface_bos_and_named_templates(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    templates = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]
    settings = {"eos_token": END, "bos_token": START, "add_bos_token": True, "chat_template": templates}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    text = read_text_side(open_checkpoint(path))
    assert (text.chat_template, text.tokens.bos) == ("y", IDS[START])
    (path / "chat_template.jinja").write_text("z")
    assert read_text_side(open_checkpoint(path)).chat_template == "z"


def test_huggingface_tokenizer_errors(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    (path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read_text_side(open_checkpoint(path))
    (path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        read_text_side(open_checkpoint(path))
