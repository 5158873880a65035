"""Tries a client's JSON Schema in a process of its own, which may die of it. Knows nothing of models.

Compiling a grammar cannot be interrupted in a thread, and a few lines of schema can take for ever.
"""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator

import anyio
import llguidance

from lineside.closing import Closing
from lineside.errors import Reason, RejectedError
from lineside.ports import GenerateJob, Generator
from lineside.serving.grammar import MAX_SCHEMA_BYTES
from lineside.serving.request import Event

LIMIT_S = 2
LIMIT_BYTES = 2 << 30
REMEMBERED = 256


class SchemaChecker:
    """One child process at a time, made when it is first needed and again after it died."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()

    def check(self, json_schema: str) -> None:
        """Blocks LIMIT_S at most. Raises RejectedError(INVALID or TOO_LONG)."""
        if len(json_schema.encode()) > MAX_SCHEMA_BYTES:
            message = f"json_schema has more than {MAX_SCHEMA_BYTES} bytes"
            raise RejectedError(Reason.TOO_LONG, message, field="json_schema")
        digest = hashlib.sha256(json_schema.encode()).hexdigest()
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
                return
            problem = self._ask(json_schema)
            if problem:
                raise RejectedError(Reason.INVALID, f"json_schema {problem}", field="json_schema")
            self._known[digest] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def close(self) -> None:
        """End the child. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def _ask(self, json_schema: str) -> str:
        """What is wrong, as the child says or by its death; empty: nothing."""
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "lineside.serving.schema_check"]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(json_schema) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            self.close()
            return f"takes more than {LIMIT_S} s or {LIMIT_BYTES >> 20} MiB to compile"
        problem: str = json.loads(answer)
        return problem


class CheckedGenerator:
    """A Generator whose schemas come from clients."""

    def __init__(self, inner: Generator, checker: SchemaChecker) -> None:
        self._inner = inner
        self._checker = checker
        # A check waits for the one before it, not for the threads that others need.
        self._turn = anyio.CapacityLimiter(1)

    async def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        """See ports.Generator."""
        if job.json_schema is not None:
            await anyio.to_thread.run_sync(self._checker.check, job.json_schema, limiter=self._turn)
        async with Closing(self._inner.generate(job)) as events:
            async for event in events:
                yield event


def problem_of(json_schema: str) -> str:
    """Why it cannot be compiled, as far as the vocabulary does not matter; empty: it can."""
    try:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json_schema)
    except ValueError as error:
        return f"cannot be used: {error}"[:500]
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar)
    if not matcher.is_error():
        matcher.compute_ff_tokens()
        matcher.compute_bitmask()
    return f"cannot be used: {matcher.get_error()}"[:500] if matcher.is_error() else ""


def main() -> None:
    """Answer a line with a line until the input ends. An alarm or the memory limit ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        # SIGALRM's default ends the process in the kernel, whatever it is busy with.
        signal.alarm(LIMIT_S)
        problem = problem_of(json.loads(line))
        signal.alarm(0)
        print(json.dumps(problem), flush=True)


if __name__ == "__main__":
    main()
