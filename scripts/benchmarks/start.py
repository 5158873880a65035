"""From `lineside serve` to ready, with its managed broker; the bundle's files are in the page cache.

Its modules are compiled, as in an installation.
"""

from __future__ import annotations

import statistics

from benchmarks import chart, peers
from benchmarks.daemon import running
from benchmarks.models import Model, bundle_of
from benchmarks.options import Options
from benchmarks.record import Record, in_turns

ROUNDS = 5


def run(options: Options) -> Record:
    """Every model in turns."""
    record = Record("start")
    bundles = {model: bundle_of(model, options.bundles.get(model.key)).path for model in options.models}

    def started(model: Model) -> float:
        settings: dict[str, dict[str, object]] = {
            "bundle": {"path": str(bundles[model])},
            "engine": {"threads": options.threads},
        }
        with running(settings) as daemon:
            return daemon.ready_s

    for model in options.models:
        peers.say(f"{model.recipe}: the first start fills the page cache")
        started(model)
    asks = {model.key: (lambda _, model=model: started(model)) for model in options.models}
    found = in_turns(options.rounds or ROUNDS, asks)
    record.samples["ready_s"] = found
    record.metrics |= {f"{key}_ready_s": statistics.median(seconds) for key, seconds in found.items()}
    record.charts["ready"] = chart.bars(
        "From the command to ready",
        "s",
        [
            chart.Bar(key, statistics.median(seconds), min(seconds), max(seconds), ours=True)
            for key, seconds in found.items()
        ],
    )
    return record
