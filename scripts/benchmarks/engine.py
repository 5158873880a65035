"""Prefill of 512 tokens and 128 greedy ones, one sequence, beside llama.cpp and onnxruntime-genai.

Ours goes through the daemon's own scheduler and sampler; the daemon itself then tells what transport adds.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks import chart, peers
from benchmarks.genai_export import exported
from benchmarks.models import QWEN, SMOLLM2, Model, bundle_of, checkpoint_of, prompt_ids, windows_of
from benchmarks.options import Options
from benchmarks.overhead import measure_overhead
from benchmarks.record import Record, in_turns, median_ratio
from lineside.engine.bundle import Bundle

PROMPT, TOKENS = 512, 128
OURS, GENAI = "Lineside", "onnxruntime-genai"
# A peer's setting is of equal quality where its perplexity is at most so much above ours.
EQUAL_QUALITY = 1.01
LLAMA_TYPES = {SMOLLM2.key: ("Q4_1", "q8_0", "q4_0"), QWEN.key: ("Q4_K_M",)}


@dataclass(slots=True)
class Runs:
    """Samples and perplexity by engine."""

    samples: dict[str, list[dict[str, Any]]]
    perplexity: dict[str, float] = field(default_factory=dict)

    def seconds(self, name: str, part: str) -> list[float]:
        """Of `prefill` or `decode`, in the order of rounds."""
        return [sample[f"{part}_s"] for sample in self.samples[name]]


def run(options: Options) -> Record:
    """Measure every model that was asked for."""
    record = Record("engine")
    record.facts["work"] = {"prompt_tokens": PROMPT, "greedy_tokens": TOKENS, "threads": options.threads}
    for model in options.models:
        bundle = bundle_of(model, options.bundles.get(model.key))
        runs = compare(options, model, bundle, record)
        summarise(model, runs, record)
        measure_overhead(options, model, bundle, record)
    return record


def compare(options: Options, model: Model, bundle: Bundle, record: Record) -> Runs:
    """Every engine in turns."""
    # Another prompt each round: what is cached of the last one is of no use.
    prompts = [
        prompt_ids(bundle, PROMPT, 61 * number) for number in range(1 + (options.rounds or model.rounds))
    ]
    windows = windows_of(bundle, model.languages)
    with contextlib.ExitStack() as stack:
        workers = _workers(options, model, bundle, stack)
        record.facts[model.key] = {name: worker.told for name, worker in workers.items()}
        for worker in workers.values():
            worker.ask("run", ids=prompts[-1], tokens=TOKENS)  # what is allocated at first is not measured
        asks = {
            name: (lambda number, worker=worker: worker.ask("run", ids=prompts[number], tokens=TOKENS))
            for name, worker in workers.items()
        }
        runs = Runs(in_turns(len(prompts) - 1, asks))
        for name, worker in workers.items():
            peers.say(f"perplexity of {name}")
            answer = worker.ask("loss", windows=windows)
            runs.perplexity[name] = math.exp(answer["loss"] / answer["count"])
    record.samples[model.key] = {
        name: [{key: value for key, value in sample.items() if key != "tokens"} for sample in samples]
        for name, samples in runs.samples.items()
    }
    record.samples[f"{model.key}_perplexity"] = runs.perplexity
    return runs


def _workers(
    options: Options, model: Model, bundle: Bundle, stack: contextlib.ExitStack
) -> dict[str, peers.Worker]:
    threads, enter = options.threads, stack.enter_context
    workers = {OURS: enter(peers.ours(bundle.path, threads, 4))}
    python = options.llama_python()
    source = checkpoint_of(model)
    own, *others = LLAMA_TYPES[model.key]
    files = {own: source} | {kind.upper(): peers.quantised(python, source, kind) for kind in others}
    for kind, file in files.items():
        workers[f"llama.cpp {kind}"] = enter(peers.llama(python, file, threads, length=1024))
    folder = exported(bundle, threads)
    workers[GENAI] = enter(peers.genai(options.genai_python(), folder, bundle.manifest.max_seq_len))
    return workers


def summarise(model: Model, runs: Runs, record: Record) -> None:
    """Ratios to the best of equal quality, and charts."""
    metrics, key = record.metrics, model.key
    bound = runs.perplexity[OURS] * EQUAL_QUALITY
    equal = [name for name in runs.samples if name.startswith("llama.cpp") and runs.perplexity[name] <= bound]
    for part, tokens in (("prefill", PROMPT), ("decode", TOKENS)):
        own = runs.seconds(OURS, part)
        metrics[f"{key}_{part}_tokens_per_s"] = tokens / statistics.median(own)
        if equal:
            best = min(equal, key=lambda name: statistics.median(runs.seconds(name, part)))
            record.facts[f"{key}_{part}_best_peer_of_equal_quality"] = best
            metrics[f"{key}_{part}_ratio"] = median_ratio(runs.seconds(best, part), own)
        if GENAI in runs.samples:
            metrics[f"{key}_{part}_ratio_to_genai"] = median_ratio(runs.seconds(GENAI, part), own)
        record.charts[f"{key}-{part}"] = chart.bars(
            f"{model.recipe}: {part}, tokens a second (perplexity)", "tok/s", _bars(runs, part, tokens)
        )
    for name, value in runs.perplexity.items():
        metrics[f"{key}_perplexity" + ("" if name == OURS else f"_{named(name)}")] = value


def named(peer: str) -> str:
    """A peer in a metric's name."""
    return peer.lower().replace(".", "_").replace(" ", "_").replace("-", "_")


def _bars(runs: Runs, part: str, tokens: int) -> list[chart.Bar]:
    found = []
    for name in runs.samples:
        speeds = [tokens / seconds for seconds in runs.seconds(name, part)]
        label = f"{name} ({runs.perplexity[name]:.2f})"
        found.append(chart.Bar(label, statistics.median(speeds), min(speeds), max(speeds), name == OURS))
    return sorted(found, key=lambda bar: -bar.value)
