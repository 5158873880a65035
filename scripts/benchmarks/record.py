"""A benchmark's file: metrics, raw samples, and what they were measured with. Knows no benchmark."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lineside import __version__

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
# Of /proc/cpuinfo on x86 and on ARM; the fastest first.
_FLAGS = ("flags", "Features")
_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")


def commit() -> str:
    """The commit, with a mark where files differ from it."""
    run = ["git", "-C", str(ROOT)]
    head = subprocess.run([*run, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run(
        [*run, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False
    )
    return (head.stdout.strip() or "unknown") + ("+" if dirty.stdout.strip() else "")


@dataclass(slots=True)
class Record:
    """What a benchmark has found. `facts`: versions and settings; `charts`: file name to drawing."""

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    charts: dict[str, str] = field(default_factory=dict)
    # As it begins: files may be changed while it runs.
    commit: str = field(default_factory=commit)
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def write(self, file: Path) -> None:
        """The file, and each chart beside it."""
        content = {
            "name": self.name,
            "commit": self.commit,
            "date": self.date,
            "machine": machine(),
            "command": shlex.join(["scripts/bench", *map(_shown, sys.argv[1:])]),
            "version": __version__,
            "metrics": {name: rounded(value) for name, value in sorted(self.metrics.items())},
            "facts": self.facts,
            "samples": self.samples,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for name, drawing in self.charts.items():
            file.with_name(f"{file.stem}-{name}.svg").write_text(drawing, "utf-8")


def rounded(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def machine() -> str:
    """Processor and its widest instructions for integers, cores that may be used, memory, kernel."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    known = {word for line in _lines("/proc/cpuinfo") if line.startswith(_FLAGS) for word in line.split()}
    widest = next((name for name in _INSTRUCTIONS if name in known), "plain")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    return f"{model} ({widest}), {cores} cores, {memory:.0f} GB, Linux {platform.release()}"


def in_turns(rounds: int, asks: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """Everybody once a round, each round beginning with the next one. Each is told the round's number."""
    names = list(asks)
    found: dict[str, list[T]] = {name: [] for name in asks}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(asks[name](number))
        print(f"    round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def median_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which a share of them lies; between two neighbours, the nearer one."""
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]


def _shown(argument: str) -> str:
    """Paths by their last part: where things lie on a machine is of no use on another."""
    key, equals, path = argument.rpartition("=")
    return f"{key}{equals}{Path(path).name}" if path.startswith("/") else argument


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
