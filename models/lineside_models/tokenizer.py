"""What a checkpoint says of its text side: tokenizer, chat template, end tokens. Knows no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from lineside.engine.bundle import SpecialTokens, Thinking
from lineside_models.checkpoint import Checkpoint
from lineside_models.checkpoint.gguf import GgufCheckpoint
from lineside_models.checkpoint.huggingface import read_json
from lineside_models.errors import CheckpointError
from lineside_models.gguf_tokenizer import tokenizer_from_gguf

# Tokens that end a turn or a text; a model that has one of them as a token of its own stops there.
_END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>")
_THINKING_MARKS = ("<think>", "</think>")
_THINKING_SWITCH = "enable_thinking"
# Where a template cannot leave the thought out, the model was trained to have one.
DEFAULT_THINKING_TOKENS = 256


class TextSide(msgspec.Struct, frozen=True):
    """The text side of a bundle, as it is written."""

    tokenizer_json: str
    chat_template: str
    tokens: SpecialTokens
    thinking: Thinking | None = None


def read_text_side(checkpoint: Checkpoint) -> TextSide:
    """Take the tokenizer, chat template and end tokens from a checkpoint. Raises CheckpointError."""
    if isinstance(checkpoint, GgufCheckpoint):
        text = _from_gguf(checkpoint)
    else:
        text = _from_huggingface(checkpoint.path, checkpoint.metadata)
    if not text.tokens.eos:
        message = f"{checkpoint.path}: the tokenizer names no end token"
        raise CheckpointError("read tokenizer", message, "use an instruction-tuned model with an EOS token")
    tokenizer = Tokenizer.from_str(text.tokenizer_json)
    _check_vocabulary(checkpoint, tokenizer, text.tokens)
    return msgspec.structs.replace(text, thinking=_thinking(tokenizer, text.chat_template))


def _check_vocabulary(checkpoint: Checkpoint, tokenizer: Tokenizer, tokens: SpecialTokens) -> None:
    """Fewer tokens than the matrix has rows is usual: the rest pads it. More is another model's tokenizer."""
    rows = checkpoint.architecture.geometry.vocab_size
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    token, last = max(vocabulary.items(), key=lambda item: item[1])
    wanted = {f"the token {token!r}": last, "an end token": max(tokens.eos), "bos": tokens.bos or 0}
    for name, number in wanted.items():
        if number >= rows:
            own = checkpoint.own_name("embed")
            message = f"{checkpoint.path}: {name} of the tokenizer has id {number}, {own} has {rows} rows"
            raise CheckpointError("read tokenizer", message, "fetch the checkpoint's own tokenizer files")


def _thinking(tokenizer: Tokenizer, chat_template: str) -> Thinking | None:
    """Whether this model thinks before it answers: it has the marks, and its template knows of them."""
    if _THINKING_MARKS[1] not in chat_template and _THINKING_SWITCH not in chat_template:
        return None
    ids = [tokenizer.token_to_id(mark) for mark in _THINKING_MARKS]
    if tokenizer.encode("".join(_THINKING_MARKS), add_special_tokens=False).ids != ids:
        return None  # no tokens of their own: they cannot be told from text
    return Thinking(0 if _THINKING_SWITCH in chat_template else DEFAULT_THINKING_TOKENS)


def _from_gguf(checkpoint: GgufCheckpoint) -> TextSide:
    metadata = checkpoint.metadata
    tokenizer = tokenizer_from_gguf(metadata, checkpoint.path)
    named = [metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    bos = metadata.get("tokenizer.ggml.bos_token_id")
    wanted = metadata.get("tokenizer.ggml.add_bos_token", metadata.get("tokenizer.ggml.pre") == "llama-bpe")
    return TextSide(
        tokenizer_json=tokenizer.to_str(),
        chat_template=str(metadata.get("tokenizer.chat_template", "")),
        tokens=SpecialTokens(_ends(tokenizer, named), bos if wanted and isinstance(bos, int) else None),
    )


def _from_huggingface(path: Path, config: Mapping[str, object]) -> TextSide:
    file = path / "tokenizer.json"
    if not file.is_file():
        hint = "fetch tokenizer.json; sentencepiece models (tokenizer.model) are not read"
        raise CheckpointError("read tokenizer", f"{file} is missing", hint)
    try:
        tokenizer = Tokenizer.from_str(file.read_text("utf-8"))
    except Exception as error:  # the library raises Exception itself
        message = f"{file}: {error}"
        raise CheckpointError(
            "read tokenizer", message, "fetch the checkpoint's tokenizer.json again"
        ) from error
    settings = _optional_json(path / "tokenizer_config.json")
    named: list[object] = [tokenizer.token_to_id(_content(settings.get("eos_token")))]
    for source in (_optional_json(path / "generation_config.json"), config):
        value = source.get("eos_token_id")
        named += value if isinstance(value, list) else [value]
    return TextSide(
        tokenizer_json=file.read_text("utf-8"),
        chat_template=_chat_template(path, settings),
        tokens=SpecialTokens(_ends(tokenizer, named), _bos(tokenizer, settings)),
    )


def _ends(tokenizer: Tokenizer, named: list[object]) -> tuple[int, ...]:
    added = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    known = [added.get(token) for token in _END_TOKENS]
    return tuple(dict.fromkeys(value for value in [*named, *known] if isinstance(value, int)))


def _bos(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> int | None:
    """The token that the tokenizer itself, or its settings, put before every text."""
    first: int | None = tokenizer.token_to_id(_content(settings.get("bos_token")))
    automatic = tokenizer.encode("", add_special_tokens=True).ids
    return first if settings.get("add_bos_token") or (automatic and automatic[0] == first) else None


def _content(token: object) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _chat_template(path: Path, settings: Mapping[str, Any]) -> str:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    template = settings.get("chat_template") or ""
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), "")
    return str(template)


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
