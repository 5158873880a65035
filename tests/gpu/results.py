"""The file that GPU measurements are merged into, section by section. Knows no engine."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

GOALS = {  # of the demo's model and of the tests': what no run has measured reads "not run"
    "qwen1_5b_fp16_speedup_over_eager_b1",
    "qwen1_5b_fp16_step_over_bandwidth_b1",
    "qwen1_5b_fp16_throughput_b8_over_b1",
    "smollm2_fp16_step_ms_b1",
    "logits_relative_error_max",
    "device_memory_over_weights_and_cache",
    "smollm2_build_s",
}
SHORT_NAMES = {"smollm2-135m-instruct": "smollm2", "qwen2.5-coder-1.5b-instruct": "qwen1_5b"}


@dataclass(frozen=True)
class Section:
    """One measurement: where and how it was made, its metrics by name, and the raw samples."""

    key: str
    commit: str
    machine: str
    command: str
    metrics: dict
    samples: dict


def short_name(model: str) -> str:
    """How metrics name a bundle's model."""
    return SHORT_NAMES.get(model, model)


def merge(path: Path, section: Section) -> None:
    """Put one section into the file, and the goals' metrics at its top."""
    content = json.loads(path.read_text()) if path.exists() else {"sections": {}}
    content["sections"][section.key] = {
        "commit": section.commit,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": section.machine,
        "command": section.command,
        "metrics": section.metrics,
        "samples": section.samples,
    }
    found: dict[str, float] = {}
    for part in content["sections"].values():
        for name in GOALS & part["metrics"].keys():  # of two models', the larger one is the worse
            found[name] = max(found.get(name, 0.0), part["metrics"][name])
    content["metrics"] = {name: found.get(name, "not run") for name in sorted(GOALS)}
    path.write_text(json.dumps(content, indent=1) + "\n")


def show(name: str, seconds: float, metrics: dict) -> None:
    """A short table."""
    print(f"-- {name}: {seconds:.0f} s")
    for key, value in metrics.items():
        print(f"{key:52} {value if isinstance(value, str) else round(value, 4)}")
