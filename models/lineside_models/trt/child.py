"""One build in a process of its own: `python -m lineside_models.trt.child`, a Job in JSON on standard input.

A builder gives its memory back only by ending, and one that the kernel kills must not take its caller along.
The last line of standard output is the Outcome.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from lineside.engine.tensorrt_module import find_tensorrt
from lineside.errors import LinesideError
from lineside_models.errors import BuildError
from lineside_models.trt.builder import Job, build

_PR_SET_PDEATHSIG = 1
_TOLD_LINES = 6
_LESS_MEMORY = (
    "probably out of memory: close other programs, or lower --max-batch, --max-seq-len, --opt-level"
    " or --workspace"
)
COMMAND: Sequence[str] = (sys.executable, "-m", "lineside_models.trt.child")


class Outcome(msgspec.Struct, frozen=True):
    """`error` empty: built. `peak_bytes`: the most memory that the process held."""

    error: str = ""
    hint: str = ""
    peak_bytes: int = 0


def build_apart(job: Job) -> Outcome:
    """Run a job in a child that dies with this process. Raises BuildError with what the child said."""
    process = subprocess.Popen(
        [*COMMAND, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        output, messages = process.communicate(msgspec.json.encode(job))
    finally:
        process.kill()
        process.wait()
    told = " | ".join(messages.decode("utf-8", "replace").strip().splitlines()[-_TOLD_LINES:])
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise BuildError("build plan", f"the builder was ended by {name}: {told}", _LESS_MEMORY)
    try:
        outcome = msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=Outcome)
    except msgspec.DecodeError:
        raise BuildError("build plan", f"the builder failed: {told}", _LESS_MEMORY) from None
    if outcome.error:
        raise BuildError("build plan", f"{outcome.error}: {told}" if told else outcome.error, outcome.hint)
    return outcome


def main() -> int:
    """The child."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        build(find_tensorrt(job.builder), job)
        outcome = Outcome(peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
    except LinesideError as error:
        outcome = Outcome(error.message, error.hint)
    except MemoryError:
        outcome = Outcome("the builder ran out of memory", _LESS_MEMORY)
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(outcome) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
