"""What the supported models' publishers ship in config.json, and a small model of each."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.models.tiny_checkpoints import TOKENS, VOCAB, Tiny, write_huggingface
from tokenizers import AddedToken, Tokenizer

_QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "initializer_range": 0.02,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
_R1_DISTILL = _QWEN2 | {
    "eos_token_id": 151643,
    "max_position_embeddings": 131072,
    "rope_theta": 10000,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "use_mrope": False,
}
_QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
_R1_0528 = {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_position_embeddings": 131072,
    "max_window_layers": 36,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "rope_scaling": {
        "attn_factor": 0.8782488562869419,
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
        "rope_type": "yarn",
    },
    "tie_word_embeddings": False,
}
_R1_7B = {"hidden_size": 3584, "intermediate_size": 18944, "max_window_layers": 28, "num_attention_heads": 28}
CONFIGS = {
    "qwen2.5-1.5b-instruct": _QWEN2,
    "deepseek-r1-distill-qwen-1.5b": _R1_DISTILL,
    "deepseek-r1-distill-qwen-7b": _R1_DISTILL | _R1_7B | {"num_key_value_heads": 4, "vocab_size": 152064},
    "qwen3-0.6b": _QWEN3,
    "qwen3-1.7b": _QWEN3 | {"hidden_size": 2048, "intermediate_size": 6144},
    "deepseek-r1-0528-qwen3-8b": _QWEN3 | _R1_0528,
}
THINKING_ID = len(TOKENS)  # <think>, then </think>: two of the rows that only pad the matrix

_CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n"
_SWITCH = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
_R1_TURNS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}<|im_end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>"
)
# How the publishers' templates end, on tokens that the tiny vocabulary has.
TEMPLATES = {
    "qwen2.5": _CHATML + _ASK + "{% endif %}",
    "deepseek-r1-distill": _R1_TURNS + "<think>\n{% endif %}",
    "deepseek-r1-0528": _R1_TURNS + "{% endif %}",
    "qwen3": _CHATML + _ASK + _SWITCH + "{% endif %}",
}


def shrunk(config: dict) -> tuple[Tiny, dict]:
    """A tiny model of the same kind, and the published config with its sizes."""
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "vocab_size": VOCAB}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "eos_token_id": TOKENS.index("<|im_end|>")}
    tiny = Tiny(
        config["model_type"],
        tied=config["tie_word_embeddings"],
        head_dim=config.get("head_dim", 16),
        theta=float(config["rope_theta"]),
        eps=config["rms_norm_eps"],
        rope=config.get("rope_scaling") or {},
    )
    return tiny, config | sizes


def write_published(path: Path, name: str, kind: str = "BF16", **sizes: int) -> Tiny:
    """A directory as its publisher has it, but tiny: random weights, and marks where it has some."""
    tiny, config = shrunk(CONFIGS[name])
    write_huggingface(path, tiny, kind, shards=1 if tiny.tied else 2)
    (path / "config.json").write_text(json.dumps(config | sizes))
    family = next(family for family in TEMPLATES if name.startswith(family))
    settings = {"eos_token": {"content": "<|im_end|>"}, "chat_template": TEMPLATES[family]}
    if family != "qwen2.5":
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        tokenizer.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
        assert tokenizer.token_to_id("<think>") == THINKING_ID
        tokenizer.save(str(path / "tokenizer.json"))
    if family.startswith("deepseek"):
        settings |= {"add_bos_token": True, "bos_token": {"content": "<|endoftext|>"}}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tiny
