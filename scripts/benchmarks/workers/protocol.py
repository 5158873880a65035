"""What a worker and its benchmark say to each other: a line of JSON each way. Knows no engine.

Needs the standard library alone: it runs in every peer's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Handler = Callable[..., dict[str, Any]]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def claim_output() -> TextIO:
    """Standard output, for answers alone: what libraries and their processes print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def serve(handlers: dict[str, Handler], answers: TextIO | None = None, **told: object) -> None:
    """Say that we are ready, then answer commands until standard input ends.

    A command is {"op": name, ...}: the other keys are the handler's arguments. `told` goes into the greeting.
    `answers`: what `claim_output` returned to who has called it; it is called here otherwise.
    """
    answers = answers or claim_output()
    _say(answers, {"ready": True, **told})
    for line in sys.stdin:
        command = json.loads(line)
        _say(answers, measured(handlers[command.pop("op")], command))


def measured(handler: Handler, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the handler returns, with its wall-clock seconds and how many cores others used meanwhile."""
    busy, own, begun_s = _busy_s(), _own_s(), time.perf_counter()
    result = handler(**arguments)
    seconds = time.perf_counter() - begun_s
    others = max((_busy_s() - busy) - (_own_s() - own), 0.0) / seconds
    return {"seconds": seconds, "others_cores": round(others, 3), "rss_mb": rss_mb(), **result}


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory of a process now, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise ProcessLookupError(f"process {pid} has no memory any more")


def _busy_s() -> float:
    """Core seconds that the whole machine has worked."""
    with open("/proc/stat") as file:  # noqa: PTH123 (read often)
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_A_SECOND


def _own_s() -> float:
    times = os.times()
    return times.user + times.system


def _say(stream: Any, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()
