"""A GGUF file's byte-level BPE vocabulary as a `tokenizers` tokenizer. Knows no weights and no templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from lineside_models.errors import CheckpointError

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5  # tokenizer.ggml.token_type


@dataclass(frozen=True, slots=True)
class _Style:
    """How text is cut before BPE."""

    words: str = ""  # a regular expression, or empty for GPT-2's own
    single_digits: bool = False
    nfc: bool = False
    whole_words: bool = False  # a word that is a token is taken without merging


def _words(digits: str) -> str:
    """The pattern that Llama 3 and Qwen 2 share but for the number of digits in a word."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


_QWEN2 = _Style(words=_words(r"\p{N}"), nfc=True)
_STYLES = {
    "smollm": _Style(single_digits=True),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "llama-bpe": _Style(words=_words(r"\p{N}{1,3}"), whole_words=True),
}


def tokenizer_from_gguf(metadata: Mapping[str, object], path: Path) -> Tokenizer:
    """Build the tokenizer. Raises CheckpointError when its kind is not one that we know."""
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if model != "gpt2" or pre not in _STYLES:
        message = f"{path}: tokenizer {model} with pre-tokenizer {pre} is not supported"
        hint = f"use a byte-level BPE model ({', '.join(_STYLES)}), or the Hugging Face directory"
        raise CheckpointError("read tokenizer", message, hint)
    tokens, kinds, merges = (
        _list(metadata, f"tokenizer.ggml.{key}", path) for key in ("tokens", "token_type", "merges")
    )
    style = _STYLES[str(pre)]
    tokenizer = _bpe(style, tokens, kinds, merges, path)
    added = [
        AddedToken(str(token), special=kind == _CONTROL, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    return tokenizer


def _bpe(
    style: _Style, tokens: list[object], kinds: list[object], merges: list[object], path: Path
) -> Tokenizer:
    if len(tokens) != len(kinds):
        message = f"{path}: {len(tokens)} tokens but {len(kinds)} token types"
        raise CheckpointError("read tokenizer", message, "fetch the file again")
    # Unused entries only pad the matrix: as tokens, text could match them.
    vocabulary = {str(token): number for number, token in enumerate(tokens) if kinds[number] != _UNUSED}
    split = (str(merge).partition(" ") for merge in merges)
    pairs = [(left, right) for left, _, right in split]
    try:
        bpe = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=style.whole_words)
    except Exception as error:  # the library raises Exception itself
        message = f"{path}: {error}"
        raise CheckpointError("read tokenizer", message, "fetch the file again") from error
    tokenizer = Tokenizer(bpe)
    if style.nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[object] = [pre_tokenizers.Digits(individual_digits=True)] if style.single_digits else []
    if style.words:
        steps.append(pre_tokenizers.Split(Regex(style.words), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not style.words))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _list(metadata: Mapping[str, object], key: str, path: Path) -> list[object]:
    value = metadata.get(key)
    if not isinstance(value, list):
        raise CheckpointError("read tokenizer", f"{path}: metadata {key} is missing", "fetch the file again")
    return value
