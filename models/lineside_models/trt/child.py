"""TensorRT in a process of its own: `python -m lineside_models.trt.child PARENT`, a task in JSON as input.

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

import msgspec

from lineside.engine.tensorrt_module import find_tensorrt
from lineside.errors import LinesideError
from lineside_models.errors import BuildError
from lineside_models.trt.builder import Job, Offer, build, offer_of

_PR_SET_PDEATHSIG = 1
_TOLD_LINES, _TOLD_CHARACTERS = 6, 1500
_LESS_MEMORY = (
    "probably out of memory: close other programs, or lower --max-batch, --max-seq-len, --opt-level"
    " or --workspace"
)


class Task(msgspec.Struct, frozen=True):
    """`job` None: say what TensorRT offers. `modules`: those to try, in order; empty: every one."""

    modules: tuple[str, ...] = ()
    job: Job | None = None


class Outcome(msgspec.Struct, frozen=True):
    """`error` empty: done. `peak_bytes`: the most memory that the process held."""

    operation: str = ""
    error: str = ""
    hint: str = ""
    peak_bytes: int = 0
    offer: Offer | None = None


def run_apart(task: Task) -> Outcome:
    """Run a task in a child that dies with this process. Raises BuildError with what the child said."""
    command = [sys.executable, "-m", "lineside_models.trt.child", str(os.getpid())]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        output, messages = process.communicate(msgspec.json.encode(task))
    finally:
        process.kill()
        process.wait()
    said, _, result = output.strip().rpartition(b"\n")
    # TensorRT's logger writes to either.
    lines = (said + b"\n" + messages).decode("utf-8", "replace").strip().splitlines()
    told = " | ".join(lines[-_TOLD_LINES:])[-_TOLD_CHARACTERS:]
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise BuildError("build plan", f"the builder was ended by {name}: {told}", _LESS_MEMORY)
    try:
        outcome = msgspec.json.decode(result, type=Outcome)
    except msgspec.DecodeError:
        raise BuildError("build plan", f"the builder failed: {told}", _LESS_MEMORY) from None
    if outcome.error:
        raise BuildError(
            outcome.operation, f"{outcome.error}: {told}" if told else outcome.error, outcome.hint
        )
    return outcome


def main() -> int:
    """The child."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    try:
        outcome = _perform(task)
    except LinesideError as error:
        outcome = Outcome(error.operation, error.message, error.hint)
    except MemoryError:
        outcome = Outcome("build plan", "the builder ran out of memory", _LESS_MEMORY)
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(outcome) + b"\n")
    return 0


def _perform(task: Task) -> Outcome:
    trt = find_tensorrt(*task.modules)
    if task.job is None:
        return Outcome(offer=offer_of(trt))
    build(trt, task.job)
    return Outcome(peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)


if __name__ == "__main__":
    sys.exit(main())
