"""Logits and times of the same weights in Hugging Face's own decoder, for measure.py to compare with.

    python3 tests/gpu/torch_reference.py BUNDLE OUTPUT.npz [compiled]

Needs torch and transformers, and nothing of this project but `daemon` on PYTHONPATH. Sequences are ragged;
each is fed its own greedy tokens. Logits are computed in float32 from the FP16 weights, times in FP16, eager;
with `compiled` also those of a decode step with a static cache under torch.compile.
"""

import os
import statistics
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lineside.engine.weights import Weights

LENGTHS = (97, 5, 160, 33, 128, 1, 250, 64)
STEPS = 24
TIMED = 30


def load(path: Path):
    """The bundle's model on the GPU in float32."""
    text = (path / "bundle.toml").read_text()
    import tomllib

    manifest = tomllib.loads(text)
    g, store = manifest["geometry"], Weights(path / "weights.safetensors")
    config = AutoConfig.for_model(
        manifest["architecture"],
        vocab_size=g["vocab_size"],
        hidden_size=g["hidden"],
        intermediate_size=g["intermediate"],
        num_hidden_layers=g["layers"],
        num_attention_heads=g["heads"],
        num_key_value_heads=g["kv_heads"],
        head_dim=g["head_dim"],
        rms_norm_eps=g["norm_eps"],
        rope_theta=g["rope_theta"],
        tie_word_embeddings=g["tied_head"],
        max_position_embeddings=manifest["max_seq_len"],
    )
    if hasattr(config, "rope_parameters"):
        config.rope_parameters = {"rope_type": "default", "rope_theta": g["rope_theta"]}
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float().eval()
    state = {}

    def take(name: str, key: str, rows: slice = slice(None)) -> None:
        state[key] = torch.from_numpy(store.fp16(name)[rows].astype(np.float32))

    take("embed", "model.embed_tokens.weight")
    take("embed" if g["tied_head"] else "head", "lm_head.weight")
    take("norm", "model.norm.weight")
    q, kv, wide = g["heads"] * g["head_dim"], g["kv_heads"] * g["head_dim"], g["intermediate"]
    parts = {"q": slice(0, q), "k": slice(q, q + kv), "v": slice(q + kv, q + 2 * kv)}
    for layer in range(g["layers"]):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        for part, rows in parts.items():
            take(f"{ours}qkv", f"{theirs}self_attn.{part}_proj.weight", rows)
            if f"{ours}qkv.bias" in store:
                take(f"{ours}qkv.bias", f"{theirs}self_attn.{part}_proj.bias", rows)
        take(f"{ours}o_proj", f"{theirs}self_attn.o_proj.weight")
        take(f"{ours}gate_up", f"{theirs}mlp.gate_proj.weight", slice(0, wide))
        take(f"{ours}gate_up", f"{theirs}mlp.up_proj.weight", slice(wide, 2 * wide))
        take(f"{ours}down_proj", f"{theirs}mlp.down_proj.weight")
        take(f"{ours}attn_norm", f"{theirs}input_layernorm.weight")
        take(f"{ours}mlp_norm", f"{theirs}post_attention_layernorm.weight")
    model.load_state_dict(state, strict=True)
    return model.cuda()


@torch.inference_mode()
def forced(model, prompt: list[int]) -> tuple[list[int], np.ndarray]:
    """Greedy tokens after the prompt, and the logits before each of them."""
    tokens = list(prompt)
    logits = []
    for _ in range(STEPS + 1):
        row = model(torch.tensor([tokens], device="cuda")).logits[0, -1].float().cpu().numpy()
        logits.append(row)
        tokens.append(int(row.argmax()))
    return tokens[len(prompt) :], np.stack(logits)


def median_ms(work, runs: int = TIMED) -> float:
    """Median of single runs, each to its end."""
    samples = []
    for index in range(runs + 5):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if index >= 5:
            samples.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(samples)


@torch.inference_mode()
def times(model) -> dict[str, float]:
    """Eager FP16: a decode step after 128 tokens at batch 1 and 8, prefill of 128 and 512; copy bandwidth."""
    model = model.half()
    found = {}
    for batch in (1, 8):
        ids = torch.randint(10, 1000, (batch, 128), device="cuda")
        past = model(ids, use_cache=True).past_key_values

        def step(past=past, batch=batch) -> None:
            model(torch.full((batch, 1), 7, device="cuda"), past_key_values=past, use_cache=True)

        found[f"eager_decode_ms_b{batch}"] = median_ms(step)
    for tokens in (128, 512):
        ids = torch.randint(10, 1000, (1, tokens), device="cuda")
        found[f"eager_prefill_ms_{tokens}"] = median_ms(lambda ids=ids: model(ids, use_cache=True))
    one, other = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    copy_ms = median_ms(lambda: other.copy_(one))
    found["copy_bandwidth_gb_per_s"] = 2 * one.numel() / copy_ms / 1e6
    return found


@torch.inference_mode()
def compiled_times(model) -> dict[str, float]:
    """A decode step after 128 tokens with a static cache, compiled, its launches captured by torch."""
    from transformers import StaticCache

    found = {}
    for batch in (1, 8):
        cache = StaticCache(
            config=model.config, max_batch_size=batch, max_cache_len=1024, device="cuda", dtype=model.dtype
        )
        ids = torch.randint(10, 1000, (batch, 128), device="cuda")
        model(ids, past_key_values=cache, cache_position=torch.arange(128, device="cuda"), use_cache=True)
        forward = torch.compile(model.forward, mode="reduce-overhead")
        token, place = torch.full((batch, 1), 7, device="cuda"), torch.tensor([128], device="cuda")

        def step(forward=forward, cache=cache, token=token, place=place) -> None:
            forward(input_ids=token, past_key_values=cache, cache_position=place, use_cache=True)

        found[f"compiled_decode_ms_b{batch}"] = median_ms(step)
    return found


def main() -> None:
    """Write prompts, tokens, logits and times."""
    bundle, output = Path(sys.argv[1]), sys.argv[2]
    model = load(bundle)
    random = np.random.default_rng(7)
    prompts = [random.integers(100, 40_000, length).tolist() for length in LENGTHS]
    arrays = {}
    for index, prompt in enumerate(prompts):
        tokens, logits = forced(model, prompt)
        arrays |= {f"prompt{index}": prompt, f"tokens{index}": tokens, f"logits{index}": logits}
    measured = times(model)
    if sys.argv[3:] == ["compiled"]:
        measured |= compiled_times(model)
    measured["device"] = torch.cuda.get_device_name(0)
    np.savez(output, times=json.dumps(measured), **arrays)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
