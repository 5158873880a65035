"""What scheduler, sampler and transport add to a step, in turns with the bare engine; the daemon's memory.

A step of the daemon is the engine's part of it, which is slower where others use its cores, and what the
engine's thread does between two of them: both as the daemon counts them. Its event loop sends every token
meanwhile. The clients, who on a line are other machines, read nothing until the end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import grpc

from benchmarks import peers
from benchmarks.daemon import Running, running
from benchmarks.models import Model, texts_of
from benchmarks.options import Options
from benchmarks.record import Record, in_turns, median_ratio
from benchmarks.streams import at_once, opened
from benchmarks.workers.protocol import rss_mb
from lineside.engine.bundle import Bundle

PROMPT, TOKENS, SLOTS = 64, 96, 8
# What the others write more than the one that begins last, so that it ends first.
SLACK = 64
BATCHES = (1, 8)
QUIET = 0.8
DECODE_S, DECODE_COUNT, CHUNK_COUNT = (
    "lineside_step_seconds_sum{kind=decode}",
    "lineside_step_seconds_count{kind=decode}",
    "lineside_step_seconds_count{kind=chunk}",
)
BETWEEN_S = "lineside_step_overhead_seconds_total"
ROUNDS = 5  # at least: neighbours on a machine change steps by more than what is measured
LONG_PROMPT, LONG_ANSWER = 512, 128


def measure_overhead(options: Options, model: Model, bundle: Bundle, record: Record) -> None:
    """Adds the metrics of one model."""
    settings = {"bundle": {"path": str(bundle.path)}, "mqtt": {"broker": "off"}}
    peers.say(f"{model.recipe}: steps of the daemon and of the bare engine")
    engine = {"threads": options.threads, "slots": SLOTS}
    with (
        running({**settings, "engine": engine}) as daemon,
        peers.ours(bundle.path, options.threads, SLOTS) as bare,
    ):

        def bare_step(batch: int) -> float:
            told = bare.ask("steps", sequences=batch, length=PROMPT, steps=TOKENS)
            return statistics.fmean(told["steps_s"])

        for batch in BATCHES:
            quiet_s = QUIET * TOKENS * bare_step(batch)
            asks: dict[str, Callable[[int], tuple[float, float]]] = {
                "engine": lambda _, batch=batch: (bare_step(batch), 0.0),  # type: ignore[misc]
                "daemon": lambda number, batch=batch, quiet_s=quiet_s: step_of(  # type: ignore[misc]
                    daemon, texts_of(bundle, PROMPT, batch, 211 * number), quiet_s
                ),
            }
            found = in_turns(options.rounds or max(model.rounds, ROUNDS), asks)
            record.samples[f"{model.key}_steps_batch_{batch}"] = found
            summarise(f"{model.key}_{{}}_batch_{batch}", found, record)
    worst = max(record.metrics[f"{model.key}_step_overhead_fraction_batch_{batch}"] for batch in BATCHES)
    record.metrics["step_overhead_fraction"] = max(worst, record.metrics.get("step_overhead_fraction", worst))
    with running({**settings, "engine": {"threads": options.threads}}) as daemon:
        measure_memory(daemon, model, bundle, record)


def summarise(name: str, found: dict[str, list[tuple[float, float]]], record: Record) -> None:
    """Metrics of the steps of one batch: the engine's alone, and the daemon's two parts beside it."""
    bare = [engine for engine, _ in found["engine"]]
    inside, between = zip(*found["daemon"], strict=True)
    whole = [sum(both) for both in found["daemon"]]
    record.metrics |= {
        name.format("step_ms"): statistics.median(bare) * 1e3,
        name.format("step_overhead_fraction"): median_ratio(whole, bare) - 1,
        name.format("step_slowdown_fraction"): median_ratio(inside, bare) - 1,
        name.format("step_between_fraction"): median_ratio(between, bare),
    }


def measure_memory(daemon: Running, model: Model, bundle: Bundle, record: Record) -> None:
    """Resident memory when it is ready, after this benchmark's own work, and after eight clients at once."""
    record.metrics[f"{model.key}_daemon_rss_ready_mb"] = rss_mb(daemon.pid)
    at_once(daemon.address, texts_of(bundle, LONG_PROMPT, 1), LONG_ANSWER)
    record.metrics[f"{model.key}_daemon_rss_mb"] = rss_mb(daemon.pid)
    at_once(daemon.address, texts_of(bundle, LONG_PROMPT, 8), 16)
    record.metrics[f"{model.key}_daemon_rss_8_clients_mb"] = rss_mb(daemon.pid)


def step_of(daemon: Running, prompts: list[str], quiet_s: float) -> tuple[float, float]:
    """Seconds of the engine's part of a step, and from one to the next, while all prompts are being answered:

    from before the last one begins to its end.

    `quiet_s`: for so long its client reads nothing, and uses no core.
    """
    *others, last = prompts
    with beside(daemon.address, others), grpc.insecure_channel(daemon.address) as channel:
        before = daemon.metrics()
        stream = opened(channel, last, TOKENS)
        next(stream)
        time.sleep(quiet_s)
        for _ in stream:
            pass
        after = daemon.metrics()
    told = {name: after[name] - before[name] for name in (DECODE_S, DECODE_COUNT, CHUNK_COUNT, BETWEEN_S)}
    between_s = told[BETWEEN_S] / (told[DECODE_COUNT] + told[CHUNK_COUNT])
    return told[DECODE_S] / told[DECODE_COUNT], between_s


@contextmanager
def beside(address: str, prompts: list[str]) -> Iterator[None]:
    """Streams that have begun, and go on until the block ends; each on a connection of its own."""
    with ExitStack() as stack:
        streams = []
        for prompt in prompts:
            channel = stack.enter_context(
                grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),))
            )
            streams.append(opened(channel, prompt, TOKENS + SLACK))
        for stream in streams:
            next(stream)
        yield
        for stream in streams:
            stream.cancel()
