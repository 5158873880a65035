"""The machine that is looked at: its files and programs below a root, bounded. Knows no check."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lineside.config import Config

MAX_FILE_BYTES = 65_536
RUN_S = 8.0
PROGRAM_PLACES = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program answered."""

    status: int
    out: str


@dataclass(frozen=True, slots=True)
class Machine:
    """`root`: where /sys, /proc, /etc and programs are; the configuration's paths are taken as they are.

    `now_s` is the wall clock's time. `deep`: what takes long is looked at, too.
    """

    config: Config
    root: Path = Path("/")
    now_s: float = 0.0
    deep: bool = False
    run_s: float = field(default=RUN_S)

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> str | None:
        """A file's text without what surrounds it, None where there is none. Raises OSError."""
        return read_plain(self.root / name, limit)

    def fields(self, name: str) -> dict[str, str]:
        """A file of `NAME: value` lines."""
        lines = (self.read(name) or "").splitlines()
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def glob(self, pattern: str) -> Iterator[Path]:
        """Files and directories, sorted."""
        return iter(sorted(self.root.glob(pattern)))

    def program(self, name: str) -> Path | None:
        """A program of this machine."""
        places = (self.root / place / name for place in PROGRAM_PLACES)
        return next((place for place in places if os.access(place, os.X_OK)), None)

    def run(self, name: str, *arguments: str) -> Ran | None:
        """Run a program; None where there is none. Raises OSError, also where it takes too long."""
        program = self.program(name)
        return None if program is None else run([str(program), *arguments], self.run_s)


def run(command: list[str], timeout_s: float) -> Ran:
    """Its status and all that it said; it is ended where it takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]} gives no answer within {timeout_s:g} s") from None
    return Ran(done.returncode, done.stdout[:MAX_FILE_BYTES].decode(errors="replace"))


def read_plain(path: Path, limit: int = MAX_FILE_BYTES) -> str | None:
    """A plain file's text, at most `limit` bytes of it; None where there is none. It never waits."""
    raw = read_bytes(path, limit)
    return None if raw is None else raw.decode(errors="replace").strip("\0\n\t ")


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """As `read_plain`, undecoded."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no plain file", str(path))
        return file.read(limit)
