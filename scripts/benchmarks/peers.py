"""Peers' environments and processes. Knows how a peer is installed and spoken to, not what it is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from lineside_models.fetch import cache_directory

WORKERS = Path(__file__).parent / "workers"
ROOT = Path(__file__).resolve().parents[2]


def say(text: str) -> None:
    """Tell whoever waits."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def environment(name: str, requirements: Sequence[str], python: str = sys.executable) -> Path:
    """The Python of a peer's own virtual environment, made where it is not there yet.

    A requirement may be a wheel's path. Raises SystemExit with what pip said.
    """
    folder = cache_directory() / "peers" / name
    stamp, wanted = folder / "requirements", "\n".join(requirements)
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return folder / "bin" / "python"
    say(f"installing {', '.join(requirements)} into {folder}")
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    command = [str(folder / "bin" / "pip"), "install", "--disable-pip-version-check", "--progress-bar", "on"]
    done = subprocess.run([*command, *requirements], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {name} cannot be installed; pip says above why")
    stamp.write_text(wanted, "utf-8")
    return folder / "bin" / "python"


class Worker:
    """A process that answers commands in order. Ended with its block."""

    def __init__(self, command: Sequence[str | Path], extra: Mapping[str, str] | None = None) -> None:
        self._command = list(map(str, command))
        quiet = {"ORT_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"}
        paths = os.pathsep.join(str(ROOT / part) for part in ("scripts", "daemon", "models", "."))
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet, **({"PYTHONPATH": paths} if extra is None else extra)},
        )
        self.told = self._read()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """Its answer. Raises SystemExit where it has died: what it said is above."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """For as long as the block runs the process stands still, and uses no core."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {' '.join(self._command)} ended; it says above why")
        answer: dict[str, Any] = json.loads(line)
        return answer


def ours(bundle: Path, threads: int, slots: int) -> Worker:
    """Lineside itself."""
    return Worker([sys.executable, "-m", "benchmarks.workers.ours", bundle, str(threads), str(slots)])


def clients(address: str) -> Worker:
    """Clients of the daemon that listens there."""
    return Worker([sys.executable, "-m", "benchmarks.workers.clients", address])


def llama(python: Path, model: Path, threads: int, *, length: int, sequences: int = 1) -> Worker:
    """llama.cpp with a GGUF file."""
    sizes = map(str, (threads, length, sequences))
    return Worker([python, WORKERS / "llama.py", model, *sizes], {})


def genai(python: Path, directory: Path, length: int) -> Worker:
    """onnxruntime-genai with a model directory."""
    return Worker([python, WORKERS / "genai.py", directory, str(length)], {})


def quantised(python: Path, source: Path, kind: str) -> Path:
    """A GGUF file in another of llama.cpp's types, by its own quantiser, kept in the cache."""
    target = cache_directory() / "peers" / f"{source.stem}.requantised-{kind}.gguf"
    if not target.is_file():
        say(f"writing {target}")
        part = target.with_suffix(".part")
        subprocess.run(
            [python, WORKERS / "llama.py", "quantise", source, part, kind], check=True, env=os.environ
        )
        part.rename(target)
    return target
