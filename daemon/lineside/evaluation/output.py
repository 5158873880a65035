"""What an evaluation found, as JSON and as tables. Knows nothing of how it was found."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lineside import __version__
from lineside.errors import LinesideError
from lineside.evaluation.suites import SAMPLE_FIELDS, Result

# Which suite and mode the goals are set for; the others' figures carry their names in front.
_PLAIN_SUITE = "reports"
_FRACTION = "unsupported_statements_model_fraction"
_HEADINGS = {
    "reports": "n",
    "abstained": "abst.",
    "citation_precision": "cit.",
    "unsupported": "unsup.",
    "statements": "stat.",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
}
_NAMES = ("kind", "lang", "asset")


def origin_of(command: str) -> dict[str, str]:
    """What is measured, when it began and where: what is written later may not say another commit."""
    begun = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"commit": _commit(), "date": begun, "machine": _machine(), "command": command}


def document_of(results: Sequence[Result], origin: dict[str, str], facts: dict[str, Any]) -> dict[str, Any]:
    """Metrics by name, what was measured by whom and where, and the raw samples."""
    metrics: dict[str, float] = {}
    for result in results:
        for name, value in result.metrics.items():
            metrics[_name(result, name)] = value
    # Of all models on all suites the worst: what the goal is for.
    fractions = [one.metrics[_FRACTION] for one in results if _FRACTION in one.metrics]
    if fractions:
        metrics[_FRACTION] = max(fractions)
    return {
        "metrics": metrics,
        **origin,
        **facts,
        "tables": {f"{one.suite}.{one.mode}": one.table for one in results},
        "risk_coverage": {f"{one.suite}.{one.mode}": one.curve for one in results if one.curve},
        "reliability": {f"{one.suite}.{one.mode}": one.reliability for one in results if one.reliability},
        "sample_fields": list(SAMPLE_FIELDS),
        "samples": {f"{one.suite}.{one.mode}": one.samples for one in results if one.samples},
    }


def write_document(path: Path, document: dict[str, Any]) -> None:
    """A line for each metric, row and sample: what changes shows."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        hint = "name a file in a directory that exists and may be written"
        raise LinesideError("write evaluation", f"{path}: {error.strerror}", hint) from error


def print_results(console: Console, results: Sequence[Result]) -> None:
    """A table for each suite and mode."""
    for result in results:
        console.print(_table(result))
        if result.suite == "sensoriq":
            figures = ", ".join(f"{name} {value:g}" for name, value in result.metrics.items())
            console.print(f"  {figures}", highlight=False)


def _table(result: Result) -> Table:
    table = Table(title=f"{result.suite}, {result.mode}", title_justify="left", box=None)
    names = list(result.table[0]) if result.table else []
    for name in names:
        table.add_column(_HEADINGS.get(name, name), justify="left" if name in _NAMES else "right")
    for row in result.table:
        table.add_row(*(_shown(row[name]) for name in names))
    return table


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _name(result: Result, name: str) -> str:
    if result.suite == _PLAIN_SUITE and result.mode == "rules":
        return name
    return f"{result.suite}.{result.mode}.{name}"


def _commit() -> str:
    """Of the source tree that this program runs from; its version where it was installed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return done.stdout.strip() if done.returncode == 0 else __version__


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {_processor()}, {cores} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
