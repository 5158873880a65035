"""Measures the ONNX Runtime engine on CUDA: logits against the reference, steps and prefill.

    python3 tests/gpu/onnxruntime_cuda.py BUNDLE --reference R.npz --json FILE --commit HASH

The reference comes from torch_reference.py. Needs onnxruntime-gpu and the CUDA libraries that it is for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tests.gpu.results import Section, merge, short_name, show

from lineside.engine.base import Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine

BATCHES = (1, 2, 4, 8)
SLOTS = 8
RUNS = 100


def main() -> None:
    """One section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    options = parser.parse_args()
    begun = time.monotonic()
    if hasattr(onnxruntime, "preload_dlls"):  # CUDA's libraries from Python packages, where they are such
        onnxruntime.preload_dlls()
    bundle = open_bundle(options.bundle)
    engine = OnnxRuntimeEngine(bundle, slots=SLOTS, threads=0, max_chunk_tokens=128, provider="cuda")
    engine.warm_up()
    reference = np.load(options.reference)
    times = json.loads(str(reference["times"]))
    name = f"{short_name(bundle.manifest.name)}_onnxruntime_cuda"
    metrics = {f"{name}_logits_relative_error_max": error(engine, reference)}
    samples: dict[str, list[float]] = {}
    for batch in (1, 8):
        samples[f"step_ms_b{batch}"] = timed(lambda b=batch: decode(engine, b))
        metrics[f"{name}_step_ms_b{batch}"] = statistics.median(samples[f"step_ms_b{batch}"])
    for tokens in (128, 512):
        samples[f"prefill_ms_{tokens}"] = timed(lambda n=tokens: prefill(engine, n))
        metrics[f"{name}_prefill_ms_{tokens}"] = statistics.median(samples[f"prefill_ms_{tokens}"])
    metrics[f"{name}_speedup_over_eager_b1"] = times["eager_decode_ms_b1"] / metrics[f"{name}_step_ms_b1"]
    key = f"{short_name(bundle.manifest.name)}.onnxruntime-cuda.speed"
    machine = (
        f"{times['device']}, ONNX Runtime {onnxruntime.__version__}, {bundle.manifest.precision} weights"
    )
    command = "tests/gpu/onnxruntime_cuda.py BUNDLE"
    merge(options.json, Section(key, options.commit, machine, command, metrics, samples))
    show(key, time.monotonic() - begun, metrics)


def error(engine: OnnxRuntimeEngine, reference: dict) -> float:
    """Largest relative error of a row of logits, over ragged batches fed the reference's tokens."""
    worst = 0.0
    for batch in BATCHES:
        lengths = []
        for slot in range(batch):
            prompt = reference[f"prompt{slot}"].tolist()
            lengths.append(len(prompt))
            for start in range(0, len(prompt), 128):
                piece = prompt[start : start + 128]
                ((row,),) = engine.forward([Extension(slot, start, piece, (len(piece) - 1,))])
            worst = max(worst, relative(row, reference[f"logits{slot}"][0]))
        for step in range(len(reference["tokens0"]) - 1):
            tokens = [int(reference[f"tokens{slot}"][step]) for slot in range(batch)]
            extensions = [Extension(s, lengths[s] + step, (tokens[s],), (0,)) for s in range(batch)]
            for slot, (row,) in enumerate(engine.forward(extensions)):
                worst = max(worst, relative(row, reference[f"logits{slot}"][step + 1]))
    return worst


def relative(row: np.ndarray, wanted: np.ndarray) -> float:
    """The difference's size over the wanted row's."""
    return float(np.linalg.norm(row - wanted) / np.linalg.norm(wanted))


def decode(engine: OnnxRuntimeEngine, batch: int) -> None:
    """One step, its likeliest tokens worked out."""
    for rows in engine.forward([Extension(slot, 128, (7,), (0,)) for slot in range(batch)]):
        rows[0].argmax()


def prefill(engine: OnnxRuntimeEngine, tokens: int) -> None:
    """A prompt in chunks of 128."""
    for start in range(0, tokens, 128):
        rows = (127,) if start + 128 == tokens else ()
        engine.forward([Extension(0, start, (7,) * 128, rows)])


def timed(work, runs: int = RUNS) -> list[float]:
    """Milliseconds of each run, after ten."""
    found = []
    for index in range(runs + 10):
        begun = time.perf_counter()
        work()
        if index >= 10:
            found.append(round((time.perf_counter() - begun) * 1e3, 4))
    return found


if __name__ == "__main__":
    main()
