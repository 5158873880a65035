"""A bundle without a model: a byte-level tokenizer of 260 tokens and a chat template, for serving tests."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from lineside.engine.bundle import (
    CHAT_TEMPLATE,
    SCHEMA_VERSION,
    TOKENIZER,
    Bundle,
    Geometry,
    Manifest,
    Source,
    SpecialTokens,
    Thinking,
)

END = "<|im_end|>"
START = "<|im_start|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# How reasoning models' templates end, and the models that do.
THINKING_TEMPLATES = {
    "switch": TEMPLATE[:-11]  # Qwen3
    + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    + "{% endif %}",
    "opens": TEMPLATE[:-11] + "<think>\n{% endif %}",  # DeepSeek-R1-Distill
    "silent": TEMPLATE,  # DeepSeek-R1-0528-Qwen3
}


def tiny_bundle(path: Path, *, max_seq_len: int = 64, thinking: int | None = None, ends: str = "") -> Bundle:
    """Write tokenizer and template to `path`; there is no model.onnx.

    `thinking`: a reasoning model's budget; `ends`: which of its templates.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
    if thinking is not None:
        tokenizer.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / TOKENIZER))
    (path / CHAT_TEMPLATE).write_text(THINKING_TEMPLATES.get(ends, TEMPLATE), "utf-8")
    vocab = tokenizer.get_vocab_size()
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        architecture="llama",
        precision="fp32",
        max_seq_len=max_seq_len,
        parameters=0,
        languages=("en",),
        licence="Apache-2.0",
        geometry=Geometry(1, 8, 16, 2, 1, 4, vocab, 10000.0, 1e-5, True),
        tokens=SpecialTokens(eos=(tokenizer.token_to_id(END),)),
        source=Source("tiny", "0" * 64),
        files={},
        thinking=None if thinking is None else Thinking(thinking),
    )
    return Bundle(path, manifest)
