"""TensorRT in a process of its own: `python -m lineside_models.trt.child PARENT DESCRIPTOR [MODULE...]`.

A builder gives its memory back only by ending, and one that the kernel kills must not take its caller along.
Each line of input is a Task in JSON; each Outcome is written to the descriptor, a line each.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile

import msgspec
from typing_extensions import Self

from lineside.engine.tensorrt_module import find_tensorrt
from lineside.errors import LinesideError
from lineside_models.errors import BuildError
from lineside_models.trt.builder import Job, Offer, Workshop

_PR_SET_PDEATHSIG = 1
_TOLD_LINES, _TOLD_CHARACTERS = 6, 1500
_LESS_MEMORY = (
    "probably out of memory: close other programs, or lower --max-batch, --max-seq-len, --opt-level"
    " or --workspace"
)


class Task(msgspec.Struct, frozen=True):
    """`job` None: say what TensorRT offers."""

    job: Job | None = None


class Outcome(msgspec.Struct, frozen=True):
    """`error` empty: done. `peak_bytes`: the most memory that the process held."""

    operation: str = ""
    error: str = ""
    hint: str = ""
    peak_bytes: int = 0
    offer: Offer | None = None


class Apart:
    """TensorRT in a child that dies with this process; `modules`: those to try, in order; none: every one.

    A context. All its tasks are run by one builder, which takes ten seconds to begin (measured, 8.6).
    """

    def __init__(self, *modules: str) -> None:
        self._opened = contextlib.ExitStack()
        self._log = self._opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 closed with the rest
        answers, answering = os.pipe()
        command = [
            sys.executable,
            "-m",
            "lineside_models.trt.child",
            str(os.getpid()),
            str(answering),
            *modules,
        ]
        # TensorRT's logger writes to either of its outputs.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, pass_fds=(answering,)
        )
        os.close(answering)
        self._answers = self._opened.enter_context(os.fdopen(answers, "rb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._opened.close()

    def run(self, task: Task) -> Outcome:
        """Have one task done. Raises BuildError with what the child said."""
        assert self._process.stdin
        said_before = self._log.seek(0, os.SEEK_END)
        with contextlib.suppress(BrokenPipeError):  # it has ended: there will be no answer either
            self._process.stdin.write(msgspec.json.encode(task) + b"\n")
            self._process.stdin.flush()
        answer = self._answers.readline()
        told = self._told(said_before)
        if not answer:
            code = self._process.wait()
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "failed"
            raise BuildError("build plan", f"the builder {how}: {told}", _LESS_MEMORY)
        outcome = msgspec.json.decode(answer, type=Outcome)
        if outcome.error:
            message = f"{outcome.error}: {told}" if told else outcome.error
            raise BuildError(outcome.operation, message, outcome.hint)
        return outcome

    def _told(self, since: int) -> str:
        self._log.seek(since)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return " | ".join(lines[-_TOLD_LINES:])[-_TOLD_CHARACTERS:]


def main() -> int:
    """The child."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent, answering, *modules = sys.argv[1:]
    if os.getppid() != int(parent):
        return 1
    workshop: Workshop | None = None
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=Task)
        try:
            workshop = workshop or Workshop(find_tensorrt(*modules))
            outcome = _perform(workshop, task)
        except LinesideError as error:
            outcome = Outcome(error.operation, error.message, error.hint)
        except MemoryError:
            outcome = Outcome("build plan", "the builder ran out of memory", _LESS_MEMORY)
        os.write(int(answering), msgspec.json.encode(outcome) + b"\n")
    return 0


def _perform(workshop: Workshop, task: Task) -> Outcome:
    if task.job is None:
        return Outcome(offer=workshop.offer())
    workshop.build(task.job)
    return Outcome(peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)


if __name__ == "__main__":
    sys.exit(main())
