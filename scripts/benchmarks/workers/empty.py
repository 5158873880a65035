"""Our gRPC server, service, scheduler and tokenizer before an engine that does nothing: `BUNDLE PORT`.

What is left is the time that everything but the model takes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import numpy as np
from numpy.typing import NDArray

from benchmarks.workers.protocol import serve
from lineside.config import GrpcConfig
from lineside.engine.base import Capabilities, Costs, Extension, PrefixCopy
from lineside.engine.bundle import Bundle, read_manifest
from lineside.ports import ModelFacts
from lineside.security.roles import Roles
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.service import GenerationService
from lineside.serving.tokenizer import Tokenizer
from lineside.telemetry.status import Sources, Status
from lineside.transport.grpc.calls import CallDefaults
from lineside.transport.grpc.server import GrpcServer, Served

MODEL = "empty"


class EmptyEngine:
    """The same logits for everybody, at once."""

    def __init__(self, vocab_size: int) -> None:
        self.capabilities = Capabilities(
            name=MODEL,
            device="none",
            slots=4,
            max_seq_len=1024,
            max_chunk_tokens=128,
            vocab_size=vocab_size,
            mixed_chunks=False,
            cache_bytes=0,
            costs=Costs(step_ns=(1,) * 4, chunk_fixed_ns=0, chunk_token_ns=1),
        )
        self._logits = np.zeros((1, vocab_size), np.float32)
        self._logits[0, 100] = 1.0

    def warm_up(self) -> None:
        """Nothing to measure."""

    def forward(self, batch: Sequence[Extension]) -> list[NDArray[np.float32]]:
        """See the contract in engine.base."""
        return [np.repeat(self._logits, len(extension.rows), axis=0) for extension in batch]

    def copy_prefix(self, copy: PrefixCopy) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing to release."""


async def work(path: Path, port: int) -> None:
    """Serve until standard input ends."""
    bundle = Bundle(path, read_manifest(path))
    manifest = bundle.manifest
    tokenizer, vocab_size = Tokenizer(bundle), manifest.geometry.vocab_size
    grammars = GrammarCompiler(tokenizer, vocab_size, manifest.tokens.eos)
    engine = EmptyEngine(vocab_size)
    service = GenerationService(engine, tokenizer, grammars, max_waiting=64, on_failure=print)
    status = Status(state="ready")
    facts = ModelFacts(MODEL, "none", "none", "none", 1024, 0, ("en",), "")
    status.sources = Sources(
        engine=lambda: None,
        models=lambda: (facts,),
        knowledge=lambda: ("", 0),
        broker=lambda: ("", False, False),
        journal=lambda: (0, 0),
        trouble=lambda: "",
        engine_choice=lambda: MODEL,
    )
    # Only generations are asked for here.
    nobody = cast("Any", None)
    served = Served(service, nobody, nobody, nobody)
    server = GrpcServer(GrpcConfig(port=port), served, status, CallDefaults(60_000, 256, Roles()))
    await server.start()
    await server.set_serving(True)
    await anyio.to_thread.run_sync(functools.partial(serve, {}))
    await server.stop(0.0)
    await service.drain(1.0)


if __name__ == "__main__":
    anyio.run(work, Path(sys.argv[1]), int(sys.argv[2]))
