"""Time to the first token over gRPC of a prompt that is new, and of one that begins as the last.

llama.cpp beside it, keeping what its cache has of the prompt before.
"""

from __future__ import annotations

import statistics

import grpc
from tokenizers import Tokenizer

from benchmarks import chart, peers
from benchmarks.daemon import running
from benchmarks.models import SMOLLM2, bundle_of, checkpoint_of, prompt_ids
from benchmarks.options import Options
from benchmarks.record import Record, in_turns
from benchmarks.streams import generate
from lineside.engine.bundle import TOKENIZER, Bundle

SHARED, OWN, ROUNDS = 448, 32, 11
ANY_TEXT = '{"type": "string"}'


def run(options: Options) -> Record:
    """SmolLM2 alone: what is saved is prefill, whatever the model."""
    record = Record("prefix")
    bundle = bundle_of(SMOLLM2, options.bundles.get(SMOLLM2.key))
    rounds = options.rounds or ROUNDS
    prompts = [pair_of(bundle, number) for number in range(rounds + 1)]
    settings: dict[str, dict[str, object]] = {
        "bundle": {"path": str(bundle.path)},
        "engine": {"threads": options.threads},
        "mqtt": {"broker": "off"},
    }
    python, model = options.llama_python(), checkpoint_of(SMOLLM2)
    model = peers.quantised(python, model, "q8_0")
    with (
        running(settings) as daemon,
        grpc.insecure_channel(daemon.address) as channel,
        peers.llama(python, model, options.threads, length=1024) as llama,
    ):

        def ours(number: int) -> tuple[float, float]:
            cold, warm = (generate(channel, prompt, 1).first_s for prompt in prompts[number])
            return cold, warm

        def theirs(number: int) -> tuple[float, float]:
            cold, warm = (
                llama.ask("guided", prompt=prompt, json_schema=ANY_TEXT, tokens=1)["first_s"]
                for prompt in prompts[number]
            )
            return cold, warm

        ours(rounds)
        theirs(rounds)
        found = in_turns(rounds, {"Lineside": ours, "llama.cpp Q8_0": theirs})
        page = daemon.metrics()
    record.facts["counters"] = {name: value for name, value in page.items() if "prefix" in name}
    record.samples["first_token_s"] = found
    bars = []
    for name, pairs in found.items():
        for kind, values in zip(("cold", "warm"), zip(*pairs, strict=True), strict=True):
            milliseconds = [value * 1e3 for value in values]
            bars.append(
                chart.Bar(
                    f"{name}, {kind}",
                    statistics.median(milliseconds),
                    min(milliseconds),
                    max(milliseconds),
                    name == "Lineside",
                )
            )
    record.charts["first-token"] = chart.bars("Time to the first token of 480 tokens, 448 known", "ms", bars)
    record.metrics |= {
        "warm_over_cold_time_to_first_token": statistics.median(
            warm / cold for cold, warm in found["Lineside"]
        ),
        "warm_over_cold_llama_cpp": statistics.median(warm / cold for cold, warm in found["llama.cpp Q8_0"]),
        "cold_first_token_ms": statistics.median(cold for cold, _ in found["Lineside"]) * 1e3,
        "warm_first_token_ms": statistics.median(warm for _, warm in found["Lineside"]) * 1e3,
    }
    return record


def pair_of(bundle: Bundle, number: int) -> tuple[str, str]:
    """Two prompts that share all but their ends."""
    tokenizer = Tokenizer.from_file(str(bundle.file(TOKENIZER)))
    shared = prompt_ids(bundle, SHARED, 53 * number)
    ends = (prompt_ids(bundle, OWN, 300 + 2 * number), prompt_ids(bundle, OWN, 301 + 2 * number))
    one, other = (tokenizer.decode([*shared, *end], skip_special_tokens=False) for end in ends)
    return one, other
