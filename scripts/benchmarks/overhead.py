"""What scheduler, sampler and transport add to a step, in turns with the bare engine; the daemon's memory.

Two parts, both as the daemon counts them, and added. Its engine is slower than the bare one where the event
loop, which sends every token meanwhile, uses its cores: that is seen in decoding steps, which are what the
bare one runs, behind as many tokens as the daemon's have before them: drafts take those further, and one of
eight takes 14 % longer behind 250 tokens than behind 112. And the engine's thread works between steps: that
is set against what the engine takes in the same steps, of all kinds, for one that checks a draft is longer,
and has more to be picked and sent behind it.

On a line clients are other machines. Here they are a process that is stopped while it is being measured: a
client's gRPC goes on working although nobody reads.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks import peers
from benchmarks.daemon import Running, running
from benchmarks.models import Model, texts_of
from benchmarks.options import Options
from benchmarks.record import Record, in_turns
from benchmarks.streams import at_once
from benchmarks.workers.protocol import rss_mb
from lineside.engine.bundle import Bundle

PROMPT, STEPS, SLOTS = 64, 96, 8
# Several times what is written while it is being measured: a draft brings up to eight in a step.
TOKENS = 384
BATCHES = (1, 8)
QUIET = 0.8
COUNTERS = (
    "lineside_step_seconds_sum{kind=decode}",
    "lineside_step_seconds_count{kind=decode}",
    "lineside_step_seconds_sum{kind=chunk}",
    "lineside_step_overhead_seconds_total",
)
WRITTEN = "lineside_generation_tokens_total"
PAGE_S = 0.3  # a page of metrics is kept for a quarter of a second
RUNNING = "lineside_num_requests_running"
# Neighbours on a machine change steps by more than what is measured: as many rounds as there is time for.
LEAST_ROUNDS, MOST_ROUNDS, BATCH_S = 5, 25, 60.0
# Steps of two processes that do the same differ for as long as these live, by 1.7 % as measured with daemons:
# both are started anew so many times.
PAIRS = 5
ATTEMPTS = 4  # with other texts, where an answer ends while it is being measured
FEWEST = 10  # decoding steps whose mean says something: where drafts are checked there are few
LONG_PROMPT, LONG_ANSWER = 512, 128


@dataclass(frozen=True)
class Sample:
    """Mean seconds of a decoding step, None where next to none was one, and how many tokens were before it;

    what was between all steps over the engine's seconds in them.
    """

    step_s: float | None
    past: float
    between: float = 0.0


def measure_overhead(options: Options, model: Model, bundle: Bundle, record: Record) -> None:
    """Adds the metrics of one model."""
    settings = {"bundle": {"path": str(bundle.path)}, "mqtt": {"broker": "off"}}
    peers.say(f"{model.recipe}: steps of the daemon and of the bare engine")
    engine = {"threads": options.threads, "slots": SLOTS}
    found: dict[int, list[tuple[Sample, Sample]]] = {batch: [] for batch in BATCHES}
    for pair in range(PAIRS):
        with (
            running({**settings, "engine": engine}) as daemon,
            peers.clients(daemon.address) as clients,
            peers.ours(bundle.path, options.threads, SLOTS) as bare,
        ):
            both = _Both(daemon, clients, bare, bundle)
            for batch in BATCHES:
                bare_s = STEPS * (both.bare_step(batch, PROMPT + STEPS / 2).step_s or 0.0)
                fitting = round(BATCH_S / (bare_s + QUIET * bare_s))
                rounds = options.rounds or min(max(fitting, LEAST_ROUNDS), MOST_ROUNDS)
                turn = partial(both.turn, batch, QUIET * bare_s, pair * MOST_ROUNDS)
                found[batch] += in_turns(-(-rounds // PAIRS), {"steps": turn})["steps"]
    for batch, samples in found.items():
        record.samples[f"{model.key}_steps_batch_{batch}"] = {
            "engine": [asdict(outside) for outside, _ in samples],
            "daemon": [asdict(inside) for _, inside in samples],
        }
        summarise(f"{model.key}_{{}}_batch_{batch}", samples, record)
    worst = max(record.metrics[f"{model.key}_step_overhead_fraction_batch_{batch}"] for batch in BATCHES)
    record.metrics["step_overhead_fraction"] = max(worst, record.metrics.get("step_overhead_fraction", worst))
    with running({**settings, "engine": {"threads": options.threads}}) as daemon:
        measure_memory(daemon, model, bundle, record)


@dataclass(frozen=True)
class _Both:
    """A daemon with clients that can be stopped, and the bare engine."""

    daemon: Running
    clients: peers.Worker
    bare: peers.Worker
    bundle: Bundle

    def turn(self, batch: int, quiet_s: float, begin: int, number: int) -> tuple[Sample, Sample]:
        """Steps of the engine and, as they are measured first, of the daemon; prompts by both numbers."""
        inside = self.daemon_step(begin + number, batch, quiet_s)
        return self.bare_step(batch, inside.past), inside

    def bare_step(self, batch: int, past: float) -> Sample:
        length = max(round(past) - STEPS // 2, 1)
        told = self.bare.ask("steps", sequences=batch, length=length, steps=STEPS)
        return Sample(statistics.fmean(told["steps_s"]), past)

    def daemon_step(self, number: int, batch: int, quiet_s: float) -> Sample:
        for attempt in range(ATTEMPTS):
            texts = texts_of(self.bundle, PROMPT, batch, 211 * number + 53 * attempt)
            if sample := step_of(self.daemon, self.clients, texts, quiet_s):
                return sample
        raise SystemExit("bench: answers end before their steps are measured")


def summarise(name: str, found: list[tuple[Sample, Sample]], record: Record) -> None:
    """Metrics of the steps of one batch: the bare engine's, and the two parts of the daemon's overhead."""
    pairs = [(bare.step_s, inside.step_s) for bare, inside in found]
    slowdown = statistics.median(inside_s / bare_s - 1 for bare_s, inside_s in pairs if bare_s and inside_s)
    between = statistics.median(inside.between for _, inside in found)
    record.metrics |= {
        name.format("step_ms"): statistics.median(bare_s for bare_s, _ in pairs if bare_s) * 1e3,
        name.format("step_overhead_fraction"): slowdown + between,
        name.format("step_slowdown_fraction"): slowdown,
        name.format("step_between_fraction"): between,
    }


def measure_memory(daemon: Running, model: Model, bundle: Bundle, record: Record) -> None:
    """Resident memory when it is ready, after this benchmark's own work, and after eight clients at once."""
    record.metrics[f"{model.key}_daemon_rss_ready_mb"] = rss_mb(daemon.pid)
    at_once(daemon.address, texts_of(bundle, LONG_PROMPT, 1), LONG_ANSWER)
    record.metrics[f"{model.key}_daemon_rss_mb"] = rss_mb(daemon.pid)
    at_once(daemon.address, texts_of(bundle, LONG_PROMPT, 8), 16)
    record.metrics[f"{model.key}_daemon_rss_8_clients_mb"] = rss_mb(daemon.pid)


def step_of(daemon: Running, clients: peers.Worker, prompts: list[str], quiet_s: float) -> Sample | None:
    """What the daemon counts in `quiet_s` while all prompts are being answered and the clients stand still.

    None where an answer ended meanwhile.
    """
    time.sleep(PAGE_S)
    begun = daemon.metrics()[WRITTEN]
    time.sleep(PAGE_S)
    clients.ask("begin", prompts=prompts, tokens=TOKENS)
    try:
        with clients.stopped():
            before = daemon.metrics()
            time.sleep(quiet_s)
            after = daemon.metrics()
    finally:
        clients.ask("end")
    if after[RUNNING] < len(prompts):
        return None
    decode_s, decoded, chunk_s, between_s = (after[name] - before[name] for name in COUNTERS)
    written = ((before[WRITTEN] + after[WRITTEN]) / 2 - begun) / len(prompts)
    step_s = decode_s / decoded if decoded >= FEWEST else None
    return Sample(step_s, PROMPT + written, between_s / (decode_s + chunk_s))
