"""A second network namespace, joined to ours by a virtual cable: a LAN without a network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Of the range for documentation: no plant has it. Processes that test at the same time have their own four.
_OWN = os.getpid() % 64 * 4
BOARD, DEVICE = f"198.51.100.{_OWN + 1}", f"198.51.100.{_OWN + 2}"


class Lan:
    """The board is this namespace, under BOARD; `run` is a device."""

    def __init__(self) -> None:
        self.namespace = f"lineside{os.getpid()}"
        self.interface = f"ls{os.getpid()}"

    def up(self) -> None:
        """Skips the test where the kernel does not let it, with what it said."""
        peer = f"{self.interface}p"
        for command in (
            f"netns add {self.namespace}",
            f"link add {self.interface} type veth peer name {peer} netns {self.namespace}",
            f"addr add {BOARD}/30 dev {self.interface}",
            f"link set {self.interface} up",
            f"-n {self.namespace} addr add {DEVICE}/30 dev {peer}",
            f"-n {self.namespace} link set {peer} up",
        ):
            done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no second network namespace here: ip {command}: {done.stderr.strip()}")

    def down(self) -> None:
        subprocess.run(["ip", "link", "del", self.interface], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)

    def run(self, *command: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """A command on the device."""
        inside = ["ip", "netns", "exec", self.namespace, *map(str, command)]
        done = subprocess.run(inside, input=stdin, capture_output=True, timeout=30, check=False)
        return subprocess.CompletedProcess(
            inside,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        """A command on the device that goes on; what it says, errors too, as it says it."""
        inside = ["ip", "netns", "exec", self.namespace, "stdbuf", "-oL", *map(str, command)]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@contextmanager
def lan() -> Iterator[Lan]:
    made = Lan()
    try:
        made.up()
        yield made
    finally:
        made.down()
