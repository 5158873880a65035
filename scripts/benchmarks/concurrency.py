"""Many clients over gRPC: throughput beside its bound and beside llama.cpp, and who waits under overload.

Closed loop: so many clients at once, each asking again once it has its answer, while all of them do.
Open loop: requests come when they come, as reports do, whoever is being answered.

The bound is what the bare engine takes for the same prompts and steps, measured right before and after the
eight clients, in every round.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import grpc

from benchmarks import chart, peers
from benchmarks.daemon import Running, running
from benchmarks.models import SMOLLM2, bundle_of, checkpoint_of, prompt_ids, texts_of
from benchmarks.options import Options
from benchmarks.record import Record, in_turns, median_ratio, quantile
from benchmarks.streams import Heard, again_and_again, generate
from lineside.engine.bundle import Bundle
from lineside.v1 import common_pb2

ROUNDS, PROMPT, TOKENS, SLOTS = 5, 96, 48, 8
CLIENTS = (1, 2, 4, 8, 16, 32)
# Requests of each client, fewer of many: a round is over within two minutes.
REQUESTS, LEAST_REQUESTS, MOST_ASKED = 4, 2, 64
BEFORE, AFTER = "bound before", "bound after"
# Critical requests, clients of low priority beside them, and seconds until those fill slots and queue.
URGENT, CROWD, FILL_S = 20, 3 * SLOTS, 0.5
# Open loop: shares of what eight clients get done, and how many requests come at such a rate.
SHARES, ARRIVALS, SEED = (0.5, 0.8, 1.2), 48, 7


def run(options: Options) -> Record:
    """SmolLM2: the scheduler is the subject."""
    record = Record("concurrency")
    record.facts["work"] = {
        "prompt_tokens": PROMPT,
        "tokens": TOKENS,
        "slots": SLOTS,
        "threads": options.threads,
    }
    bundle = bundle_of(SMOLLM2, options.bundles.get(SMOLLM2.key))
    settings: dict[str, dict[str, object]] = {
        "bundle": {"path": str(bundle.path)},
        "engine": {"threads": options.threads, "slots": SLOTS},
        "mqtt": {"broker": "off"},
    }
    with running(settings) as daemon:
        closed_loop(options, bundle, daemon, record)
        open_loop(bundle, daemon, record)
        overload(bundle, daemon, record)
    return record


def closed_loop(options: Options, bundle: Bundle, daemon: Running, record: Record) -> None:
    """1 to 32 clients, the bare engine and llama.cpp in turns, each round with prompts of its own."""
    python = options.llama_python()
    file = peers.quantised(python, checkpoint_of(SMOLLM2), "q8_0")
    with (
        peers.ours(bundle.path, options.threads, SLOTS) as bare,
        peers.llama(python, file, options.threads, length=256, sequences=SLOTS) as llama,
    ):

        def served(clients: int) -> Callable[[int], float]:
            def ask(number: int) -> float:
                each = max(LEAST_REQUESTS, min(REQUESTS, MOST_ASKED // clients))
                prompts = texts_of(bundle, PROMPT, clients * each, 1009 * number + 101 * clients)
                rows = [prompts[index::clients] for index in range(clients)]
                return throughput(again_and_again(daemon.address, rows, TOKENS))

            return ask

        def bound(_: int) -> float:
            told = bare.ask("steps", sequences=SLOTS, length=PROMPT, steps=TOKENS)
            return bound_of(told["prefill_s"], told["step_s"])

        def batched(number: int) -> float:
            prompts = [prompt_ids(bundle, PROMPT, 1009 * number + 37 * index) for index in range(SLOTS)]
            told = llama.ask("batched", prompts=prompts, tokens=TOKENS)
            return SLOTS * TOKENS / float(told["prefill_s"] + told["decode_s"])

        asks: dict[str, Callable[[int], float]] = {}
        for clients in CLIENTS:
            if clients == SLOTS:
                asks[BEFORE] = bound
            asks[f"{clients} clients"] = served(clients)
            if clients == SLOTS:
                asks |= {AFTER: bound, "llama.cpp": batched}
        found = in_turns(options.rounds or ROUNDS, asks)
    summarise(found, record)


def bound_of(prefill_s: float, step_s: float) -> float:
    """Tokens a second of full slots that do nothing but read their prompts and step."""
    # The first token comes of the prompt's last chunk.
    return SLOTS * TOKENS / (SLOTS * prefill_s + (TOKENS - 1) * step_s)


def throughput(heard: Sequence[Sequence[Heard]]) -> float:
    """Tokens a second while every client has more to ask: from the first answer to the first last one."""
    begin_s = min(first.ended_s for first, *_ in heard)
    end_s = min(last.ended_s for *_, last in heard)
    written = sum(
        count
        for client in heard
        for one in client
        for instant_s, count in zip(one.tokens_s, one.tokens, strict=True)
        if begin_s < instant_s <= end_s
    )
    return written / (end_s - begin_s)


def summarise(found: dict[str, list[float]], record: Record) -> None:
    """Ratios round by round, and a line over clients."""
    record.samples["tokens_per_s"] = found
    full = found[f"{SLOTS} clients"]
    bounds = [statistics.fmean(both) for both in zip(found[BEFORE], found[AFTER], strict=True)]
    record.metrics |= {
        "fraction_of_bound_at_8": median_ratio(full, bounds),
        "bound_tokens_per_s": statistics.median(bounds),
        "bound_over_llama_cpp": median_ratio(bounds, found["llama.cpp"]),
        "throughput_ratio_to_llama_cpp_8_sequences": median_ratio(full, found["llama.cpp"]),
    }
    medians = {name: statistics.median(values) for name, values in found.items()}
    record.metrics |= {
        f"tokens_per_s_{clients}_clients": medians[f"{clients} clients"] for clients in CLIENTS
    }
    series = {
        "Lineside": [(float(clients), medians[f"{clients} clients"]) for clients in CLIENTS],
        "bound of 8 slots": [(float(clients), statistics.median(bounds)) for clients in (SLOTS, CLIENTS[-1])],
        "llama.cpp, 8 sequences": [
            (float(SLOTS), medians["llama.cpp"]),
            (float(CLIENTS[-1]), medians["llama.cpp"]),
        ],
    }
    record.charts["clients"] = chart.lines("Tokens a second by clients", ("clients", "tok/s"), series)


def open_loop(bundle: Bundle, daemon: Running, record: Record) -> None:
    """Requests at random instants, at some shares of the closed loop's rate; none waits for another."""
    capacity = record.metrics[f"tokens_per_s_{SLOTS}_clients"] / TOKENS
    found: dict[str, dict[str, float | list[float]]] = {}
    for number, share in enumerate(SHARES):
        prompts = texts_of(bundle, PROMPT, ARRIVALS, 7001 + 1009 * number)
        seconds = arriving(daemon.address, prompts, instants(share * capacity, len(prompts)))
        answered = [value for value in seconds if value is not None]
        found[f"{share:g}"] = {"requests_per_s": share * capacity, "whole_s": answered}
        name = f"open_loop_{round(share * 100)}_percent"
        record.metrics |= {
            f"{name}_p50_s": statistics.median(answered),
            f"{name}_p95_s": quantile(answered, 0.95),
            f"{name}_refused": len(seconds) - len(answered),
        }
    record.samples["open_loop"] = found
    record.charts["open-loop"] = chart.lines(
        "Seconds of a request by the rate at which they come",
        ("percent of what eight clients get done", "s"),
        {
            f"p{percent}": [
                (share * 100, record.metrics[f"open_loop_{round(share * 100)}_percent_p{percent}_s"])
                for share in SHARES
            ]
            for percent in (50, 95)
        },
    )


def instants(per_s: float, count: int) -> list[float]:
    """Seconds from now of that many arrivals that know nothing of each other; the same ones in every run."""
    random = Random(SEED)  # noqa: S311 (nothing is to be kept secret)
    return list(itertools.accumulate(random.expovariate(per_s) for _ in range(count)))


def arriving(address: str, prompts: Sequence[str], at_s: Sequence[float]) -> list[float | None]:
    """Seconds of each request from its instant to its end; None where it was turned away."""
    begun_s = time.monotonic()

    def ask(prompt: str, instant_s: float) -> float | None:
        with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
            grpc.channel_ready_future(channel).result(10)
            time.sleep(max(begun_s + instant_s - time.monotonic(), 0.0))
            try:
                heard = generate(channel, prompt, TOKENS)
            except grpc.RpcError:
                return None
            return heard.ended_s - (begun_s + instant_s)

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(ask, prompts, at_s))


def overload(bundle: Bundle, daemon: Running, record: Record) -> None:
    """Critical requests one after another: alone, then while three times the slots of low priority wait."""
    texts = texts_of(bundle, PROMPT, URGENT + CROWD, 5003)
    alone = urgent(daemon, texts[:URGENT])
    ended = threading.Event()
    crowd = [
        threading.Thread(target=until, args=(ended, daemon, text), daemon=True) for text in texts[URGENT:]
    ]
    for thread in crowd:
        thread.start()
    time.sleep(FILL_S)
    try:
        # The same texts said a little otherwise: what is cached of them would be of help.
        beside = urgent(daemon, [text[1:] for text in texts[:URGENT]])
    finally:
        ended.set()
        for thread in crowd:
            thread.join()
    compare(alone, beside, record)


def urgent(daemon: Running, prompts: Sequence[str]) -> list[float]:
    """Seconds of each whole critical request."""
    with grpc.insecure_channel(daemon.address) as channel:
        return [
            generate(channel, prompt, TOKENS, priority=common_pb2.PRIORITY_CRITICAL).whole_s
            for prompt in prompts
        ]


def until(ended: threading.Event, daemon: Running, prompt: str) -> None:
    """One client of low priority, asking again and again; a request that is turned away is asked again."""
    with grpc.insecure_channel(daemon.address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        while not ended.is_set():
            try:
                generate(channel, prompt, TOKENS, priority=common_pb2.PRIORITY_LOW)
            except grpc.RpcError:  # noqa: PERF203 (each request may be turned away)
                ended.wait(FILL_S)


def compare(alone: list[float], beside: list[float], record: Record) -> None:
    """The 95th percentiles of both."""
    record.samples["critical_s"] = {"alone": alone, "beside the crowd": beside}
    record.metrics |= {
        "high_severity_p95_unloaded_s": quantile(alone, 0.95),
        "high_severity_p95_overload_s": quantile(beside, 0.95),
        "high_severity_p95_overload_over_unloaded": quantile(beside, 0.95) / quantile(alone, 0.95),
    }
