"""`scripts/bench NAME --json FILE`: runs one benchmark and writes its figures and charts."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.models import MODELS
from benchmarks.options import LLAMA_VERSION, WHEEL_VARIABLE, Options
from benchmarks.record import rounded

NAMES = ("engine", "guided", "concurrency", "latency", "prefix", "start")


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    options = Options(
        models=[MODELS[key] for key in arguments.model or MODELS],
        bundles=dict(arguments.bundle),
        threads=arguments.threads,
        rounds=arguments.rounds,
        llama_wheel=arguments.llama_wheel,
    )
    record = importlib.import_module(f"benchmarks.{arguments.name}").run(options)
    for name, value in sorted(record.metrics.items()):
        print(f"{name} = {rounded(value):g}")
    record.write(arguments.json)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="scripts/bench", description="Lineside beside other engines.")
    made.add_argument("name", choices=NAMES)
    made.add_argument("--json", type=Path, required=True, metavar="FILE", help="charts are written beside it")
    made.add_argument("--model", action="append", choices=list(MODELS), help="default: every one")
    made.add_argument(
        "--bundle",
        action="append",
        default=[],
        type=_bundle,
        metavar="MODEL=DIR",
        help="a model's bundle; default: built into the cache",
    )
    made.add_argument("--threads", type=int, default=2, help="of every engine (default: 2)")
    made.add_argument("--rounds", type=int, default=0, help="default: what each benchmark takes")
    made.add_argument(
        "--llama-wheel",
        default="",
        metavar="FILE",
        help=f"llama-cpp-python's wheel, or {WHEEL_VARIABLE}; default: PyPI's source of {LLAMA_VERSION}",
    )
    return made


def _bundle(value: str) -> tuple[str, Path]:
    key, _, path = value.partition("=")
    if key not in MODELS or not path:
        raise argparse.ArgumentTypeError(f"{value!r}: write it as {next(iter(MODELS))}=DIR")
    return key, Path(path)


if __name__ == "__main__":
    main()
