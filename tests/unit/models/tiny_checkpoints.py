"""Small random checkpoints, as GGUF and as Hugging Face directories, written by code of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END, START, TEXT_END = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "e r", "o n"]
# GPT-2's byte alphabet, then merged words, then special tokens, then rows that only pad the matrix.
TOKENS = [
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    "Ġt",
    "he",
    "Ġthe",
    "in",
    "er",
    "on",
    TEXT_END,
    START,
    END,
]
PADDING = 4
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
VOCAB = len(TOKENS) + PADDING


@dataclass
class Tiny:
    """Sizes and random weights by canonical name, in Hugging Face's row order."""

    family: str
    tied: bool = True
    bias: bool | None = None
    o_bias: bool = False
    layers: int = 2
    hidden: int = 64
    intermediate: int = 96
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    theta: float = 10000.0
    eps: float = 1e-5
    positions: int = 256
    seed: int = 7
    rope: dict = field(default_factory=dict)  # as config.json's rope_scaling
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bias is None:
            self.bias = self.family == "qwen2"
        rng = np.random.default_rng(self.seed)

        def matrix(rows: int, columns: int) -> np.ndarray:
            return rng.normal(0, 1.5 / np.sqrt(columns), (rows, columns)).astype(np.float32)

        def vector(size: int, centre: float) -> np.ndarray:
            return rng.normal(centre, 0.3, size).astype(np.float32)

        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.values |= {"embed": matrix(VOCAB, self.hidden) * 8, "norm": vector(self.hidden, 1)}
        if not self.tied:
            self.values["head"] = matrix(VOCAB, self.hidden)
        for layer in range(self.layers):
            p = f"layers.{layer}."
            self.values |= {
                p + "attn_norm": vector(self.hidden, 1),
                p + "mlp_norm": vector(self.hidden, 1),
                p + "q_proj": matrix(q, self.hidden),
                p + "k_proj": matrix(kv, self.hidden),
                p + "v_proj": matrix(kv, self.hidden),
                p + "o_proj": matrix(self.hidden, q),
                p + "gate_proj": matrix(self.intermediate, self.hidden),
                p + "up_proj": matrix(self.intermediate, self.hidden),
                p + "down_proj": matrix(self.hidden, self.intermediate),
            }
            if self.bias:
                for name, size in (("q", q), ("k", kv), ("v", kv)):
                    self.values[f"{p}{name}_proj.bias"] = vector(size, 0.5)
            if self.o_bias:
                self.values[p + "o_proj.bias"] = vector(self.hidden, 0.5)
            if self.family == "qwen3":
                self.values |= {
                    p + "q_norm": vector(self.head_dim, 1),
                    p + "k_norm": vector(self.head_dim, 1),
                }

    def angles(self) -> np.ndarray:
        """What each rotary pair turns by from one position to the next."""
        return rope_angles(self.rope, self.head_dim, self.theta)


def rope_angles(rope: dict, head_dim: int, theta: float) -> np.ndarray:
    """Pair by pair, as the models' authors publish it."""
    out = []
    for pair in range(head_dim // 2):
        angle = theta ** (-2 * pair / head_dim)
        if rope.get("rope_type") == "linear":
            angle /= rope["factor"]
        elif rope.get("rope_type") == "llama3":
            angle = _llama3_angle(angle, rope)
        elif rope.get("rope_type") == "yarn":
            angle = _yarn_angle(angle, pair, rope, head_dim, theta)
        out.append(angle)
    return np.array(out)


def _llama3_angle(angle: float, rope: dict) -> float:
    length = rope["original_max_position_embeddings"]
    wavelength = 2 * np.pi / angle
    if wavelength < length / rope["high_freq_factor"]:
        return angle
    if wavelength > length / rope["low_freq_factor"]:
        return angle / rope["factor"]
    smooth = (length / wavelength - rope["low_freq_factor"]) / (
        rope["high_freq_factor"] - rope["low_freq_factor"]
    )
    return (1 - smooth) * angle / rope["factor"] + smooth * angle


def _yarn_angle(angle: float, pair: int, rope: dict, head_dim: int, theta: float) -> float:
    def bound(turns: float) -> float:
        length = rope["original_max_position_embeddings"]
        return head_dim * np.log(length / (turns * 2 * np.pi)) / (2 * np.log(theta))

    low, high = max(np.floor(bound(32)), 0), min(np.ceil(bound(1)), head_dim - 1)
    ramp = min(max((pair - low) / max(high - low, 0.001), 0), 1)
    return angle / rope["factor"] * ramp + angle * (1 - ramp)


GGUF_NAMES = {
    "embed": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "output.weight",
    "attn_norm": "attn_norm.weight",
    "mlp_norm": "ffn_norm.weight",
    "q_proj": "attn_q.weight",
    "k_proj": "attn_k.weight",
    "v_proj": "attn_v.weight",
    "o_proj": "attn_output.weight",
    "gate_proj": "ffn_gate.weight",
    "up_proj": "ffn_up.weight",
    "down_proj": "ffn_down.weight",
    "q_proj.bias": "attn_q.bias",
    "k_proj.bias": "attn_k.bias",
    "v_proj.bias": "attn_v.bias",
    "o_proj.bias": "attn_output.bias",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
}
HF_NAMES = {
    "embed": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "attn_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    **{f"{n}_proj": f"self_attn.{n}_proj.weight" for n in "qkvo"},
    **{f"{n}_proj.bias": f"self_attn.{n}_proj.bias" for n in "qkvo"},
    **{f"{n}_proj": f"mlp.{n}_proj.weight" for n in ("gate", "up", "down")},
    **{f"{n}_norm": f"self_attn.{n}_norm.weight" for n in "qk"},
}


def gguf_name(name: str) -> str:
    if not name.startswith("layers."):
        return GGUF_NAMES[name]
    _, layer, part = name.split(".", 2)
    return f"blk.{layer}.{GGUF_NAMES[part]}"


def hf_name(name: str) -> str:
    if not name.startswith("layers."):
        return HF_NAMES[name]
    _, layer, part = name.split(".", 2)
    return f"model.layers.{layer}.{HF_NAMES[part]}"


def interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to the rows of q and k: pair i is rows i and i + half of a head."""
    out = np.empty_like(values)
    size = values.shape[0] // heads
    for head in range(heads):
        for i in range(size // 2):
            out[head * size + 2 * i] = values[head * size + i]
            out[head * size + 2 * i + 1] = values[head * size + size // 2 + i]
    return out


def write_gguf(
    path: Path, tiny: Tiny, kind: str = "F32", *, metadata=None, drop: str = "", pre: str = "", extra=None
) -> Path:
    """Write a GGUF file; `kind` is the type of every matrix. `drop` leaves a tensor out."""
    writer = gguf.GGUFWriter(path, tiny.family)
    writer.add_block_count(tiny.layers)
    writer.add_context_length(tiny.positions)
    writer.add_embedding_length(tiny.hidden)
    writer.add_feed_forward_length(tiny.intermediate)
    writer.add_head_count(tiny.heads)
    writer.add_head_count_kv(tiny.kv_heads)
    writer.add_key_length(tiny.head_dim)
    writer.add_rope_freq_base(tiny.theta)
    writer.add_layer_norm_rms_eps(tiny.eps)
    extra = {**gguf_rope(writer, tiny), **(extra or {})}
    add_gguf_tokenizer(writer, pre or {"llama": "smollm", "qwen2": "qwen2"}.get(tiny.family, "qwen2"))
    for key, value in (metadata or {}).items():
        writer.add_string(key, value)
    for name, values in {**tiny.values, **extra}.items():
        part = name.removesuffix(".bias").rpartition(".")[2]
        if name == drop:
            continue
        if tiny.family == "llama" and part in ("q_proj", "k_proj"):
            values = interleave(values, tiny.heads if part == "q_proj" else tiny.kv_heads)  # noqa: PLW2901
        _add_gguf_tensor(writer, name if name in extra else gguf_name(name), values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_rope(writer: gguf.GGUFWriter, tiny: Tiny) -> dict[str, np.ndarray]:
    """As llama.cpp's converter has it: divisors for llama3, metadata for the other kinds."""
    kind = tiny.rope.get("rope_type")
    if kind == "llama3":
        plain = rope_angles({}, tiny.head_dim, tiny.theta)
        return {"rope_freqs.weight": (plain / tiny.angles()).astype(np.float32)}
    if kind:
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(tiny.rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(tiny.rope["original_max_position_embeddings"])
    if "attn_factor" in tiny.rope:
        writer.add_rope_scaling_attn_factors(tiny.rope["attn_factor"])
    return {}


def _add_gguf_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    qtype = gguf.GGMLQuantizationType[kind]
    if values.ndim == 1 or kind == "F32":
        writer.add_tensor(name, values)
    elif kind == "F16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, qtype), raw_dtype=qtype)


def add_gguf_tokenizer(writer: gguf.GGUFWriter, pre: str) -> None:
    tokens = [*TOKENS, *(f"[PAD{i}]" for i in range(PADDING))]
    kinds = [1] * (len(TOKENS) - 3) + [3] * 3 + [5] * PADDING
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(TOKENS.index(END))
    writer.add_bos_token_id(TOKENS.index(START))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write_huggingface(
    path: Path, tiny: Tiny, kind: str = "F32", *, shards: int = 1, config=None, drop: str = ""
) -> Path:
    """Write config.json, tokenizer files and safetensors in one file or several with an index."""
    path.mkdir(parents=True, exist_ok=True)
    settings = {
        "model_type": tiny.family,
        "num_hidden_layers": tiny.layers,
        "hidden_size": tiny.hidden,
        "intermediate_size": tiny.intermediate,
        "num_attention_heads": tiny.heads,
        "num_key_value_heads": tiny.kv_heads,
        "head_dim": tiny.head_dim,
        "vocab_size": VOCAB,
        "rope_theta": tiny.theta,
        "rms_norm_eps": tiny.eps,
        "tie_word_embeddings": tiny.tied,
        "max_position_embeddings": tiny.positions,
        "hidden_act": "silu",
        "eos_token_id": TOKENS.index(TEXT_END),
    }
    if tiny.family != "qwen2":
        settings["attention_bias"] = tiny.bias
    if tiny.rope:
        settings["rope_scaling"] = tiny.rope
    (path / "config.json").write_text(json.dumps(settings | (config or {})))
    tensors = {hf_name(name): v.astype(DTYPES[kind]) for name, v in tiny.values.items() if name != drop}
    if shards == 1:
        save_file(tensors, path / "model.safetensors")
    else:
        names = sorted(tensors)
        weight_map = {}
        for shard in range(shards):
            file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
            mine = names[shard::shards]
            save_file({name: tensors[name] for name in mine}, path / file)
            weight_map |= dict.fromkeys(mine, file)
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    settings = {"eos_token": {"content": END}, "bos_token": None, "chat_template": TEMPLATE}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def tiny_tokenizer() -> Tokenizer:
    """The same vocabulary as the GGUF's, as a Hugging Face tokenizer."""
    vocab = {token: number for number, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m.split(" ")) for m in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in TOKENS[-3:]])
    return tokenizer
