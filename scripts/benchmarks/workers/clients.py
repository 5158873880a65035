"""Clients of a daemon in a process of their own, which can be stopped.

`python -m benchmarks.workers.clients ADDRESS`.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import grpc

from benchmarks.streams import opened
from benchmarks.workers.protocol import serve


class Clients:
    """Streams from one daemon, each on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stack = ExitStack()
        self._streams: list[Any] = []  # one that nobody keeps is cancelled

    def begin(self, prompts: list[str], tokens: int) -> dict[str, Any]:
        """Generations of so many tokens each, all of which have begun."""
        for prompt in prompts:
            own = grpc.insecure_channel(self._address, (("grpc.use_local_subchannel_pool", 1),))
            self._streams.append(opened(self._stack.enter_context(own), prompt, tokens))
        for stream in self._streams:
            next(stream)
        return {}

    def end(self) -> dict[str, Any]:
        """All of them, with their connections."""
        self._streams.clear()
        self._stack.close()
        return {}


if __name__ == "__main__":
    ours = Clients(sys.argv[1])
    serve({"begin": ours.begin, "end": ours.end})
