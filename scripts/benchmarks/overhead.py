"""What scheduler, sampler and transport add to a step, in turns with the bare engine; the daemon's memory.

The clients run on the same cores as the daemon: what they take is counted against it.
"""

from __future__ import annotations

import statistics

from benchmarks import peers
from benchmarks.daemon import running
from benchmarks.models import Model, texts_of
from benchmarks.options import Options
from benchmarks.record import Record, in_turns, median_ratio
from benchmarks.streams import Heard, at_once
from benchmarks.workers.protocol import rss_mb
from lineside.engine.bundle import Bundle

PROMPT, TOKENS, SLOTS = 64, 96, 8
BATCHES = (1, 8)
LONG_PROMPT = 512


def measure_overhead(options: Options, model: Model, bundle: Bundle, record: Record) -> None:
    """Adds the metrics of one model."""
    prompts = texts_of(bundle, PROMPT, SLOTS)
    settings = {"bundle": {"path": str(bundle.path)}, "mqtt": {"broker": "off"}}
    fractions: dict[int, list[float]] = {}
    peers.say(f"{model.recipe}: steps of the daemon and of the bare engine")
    engine = {"threads": options.threads, "slots": SLOTS}
    with (
        running({**settings, "engine": engine}) as daemon,
        peers.ours(bundle.path, options.threads, SLOTS) as bare,
    ):
        for batch in BATCHES:
            asks = {
                "daemon": lambda _, batch=batch: step_of(at_once(daemon.address, prompts[:batch], TOKENS)),
                "engine": lambda _, batch=batch: bare.ask(
                    "steps", sequences=batch, length=PROMPT, steps=TOKENS
                )["step_s"],
            }
            found = in_turns(options.rounds or model.rounds, asks)
            record.samples[f"{model.key}_steps_batch_{batch}"] = found
            fractions[batch] = [
                one / other - 1 for one, other in zip(found["daemon"], found["engine"], strict=True)
            ]
            record.metrics[f"{model.key}_step_ms_batch_{batch}"] = statistics.median(found["engine"]) * 1e3
            record.metrics[f"{model.key}_step_overhead_fraction_batch_{batch}"] = (
                median_ratio(found["daemon"], found["engine"]) - 1
            )
    worst = max(record.metrics[f"{model.key}_step_overhead_fraction_batch_{batch}"] for batch in BATCHES)
    record.metrics["step_overhead_fraction"] = max(worst, record.metrics.get("step_overhead_fraction", worst))
    with running({**settings, "engine": {"threads": options.threads}}) as daemon:
        at_once(daemon.address, texts_of(bundle, LONG_PROMPT, 8), 64)
        record.metrics[f"{model.key}_daemon_rss_mb"] = rss_mb(daemon.pid)


def step_of(heard: list[Heard]) -> float:
    """Seconds between two tokens of the stream that began last, while all of them write."""
    last = max(heard, key=lambda one: one.tokens_s[0])
    end_s = min(one.ended_s for one in heard)
    instants = [instant for instant in last.tokens_s if instant <= end_s]
    # A token that ends inside a letter waits for the next: such a stream has fewer events than tokens.
    tokens_an_event = last.completion_tokens / len(last.tokens_s)
    return (instants[-1] - instants[0]) / (len(instants) - 1) / tokens_an_event
