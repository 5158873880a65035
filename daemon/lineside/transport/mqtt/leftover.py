"""The process that an earlier daemon left behind: remembered in a file, recognised, ended. Knows no MQTT."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from pathlib import Path

import anyio.to_thread
import msgspec

from lineside.errors import LinesideError

logger = logging.getLogger("lineside.transport.mqtt.managed")

FILE_NAME = "mosquitto.pid"
END_S = 10.0


class ProcessId(msgspec.Struct, frozen=True):
    """A process for certain: its number, and when it started in clock ticks since boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return started_at(self.pid) == self.started


class Leftover(msgspec.Struct, frozen=True):
    """The child, and the daemon that started it."""

    child: ProcessId
    owner: ProcessId


def started_at(pid: int) -> int:
    """When a process started; 0 where none of that number runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    # The name, in parentheses, may hold anything; state is the first field after it, start time the 20th.
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def remember(directory: Path, pid: int) -> None:
    """Write down which child runs here; where that cannot be written, it runs all the same."""
    child, owner = ProcessId(pid, started_at(pid)), ProcessId(os.getpid(), started_at(os.getpid()))
    scratch = directory / f"{FILE_NAME}.new"
    try:
        scratch.write_bytes(msgspec.json.encode(Leftover(child, owner)))
        scratch.replace(directory / FILE_NAME)
    except OSError as error:
        # The kernel ends it with us, nearly always; and who came after a full disk needs its broker.
        logger.warning("the next start will not know this broker: %s", error)


def forget(directory: Path) -> None:
    """The child has ended; a file that cannot be taken away names a process that is not there."""
    with contextlib.suppress(OSError):
        (directory / FILE_NAME).unlink()


def find_leftover(directory: Path, argument: str) -> Leftover | None:
    """The child of an earlier daemon, where it still runs and is what we started: in this directory, so."""
    try:
        leftover = msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Leftover)
        proc = Path(f"/proc/{leftover.child.pid}")
        arguments = (proc / "cmdline").read_bytes().split(b"\0")
        here = (proc / "cwd").resolve() == directory.resolve()
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    ours = here and argument.encode() in arguments and leftover.child.alive
    return leftover if ours else None


async def stop_leftover(directory: Path, argument: str) -> None:
    """End the child of an earlier daemon. Raises LinesideError where that daemon still runs."""
    leftover = find_leftover(directory, argument)
    if leftover is None:
        return
    if leftover.owner.alive:
        message = f"{directory} is in use by the daemon with process id {leftover.owner.pid}"
        hint = "stop that daemon, or give this one a state_dir and [mqtt] port of its own"
        raise LinesideError("start the managed broker", message, hint)
    logger.warning("ending the broker that an earlier daemon left", extra={"pid": leftover.child.pid})
    try:
        descriptor = os.pidfd_open(leftover.child.pid)
    except ProcessLookupError:
        return
    try:
        await end(descriptor, leftover.child)
    finally:
        os.close(descriptor)


async def end(descriptor: int, process: ProcessId) -> None:
    """Ask a process to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not process.alive:
            return
        signal.pidfd_send_signal(descriptor, number)
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)  # a stopped one hears nothing before
        # A process descriptor becomes readable when its process ends.
        await anyio.to_thread.run_sync(select.select, [descriptor], [], [], END_S)
