"""Makes a daemon hold what it comes to hold sooner or later, so that its memory can be compared from then on.

Pages are mapped when they are first touched: those of each slot's cache, and those of the
bundle's table of tokens, of which reports use a few more every hour.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from lineside.engine.bundle import open_bundle
from lineside.serving.tokenizer import Tokenizer
from lineside.v1 import generation_pb2, generation_pb2_grpc

# Rows of the table from one word to the next: no more than are mapped at a touch, 64 KiB.
ROWS = 64
# At once, as many as the daemon has slots or more, and again, for the places where prefixes are kept.
SEQUENCES, ROUNDS = 8, 2
WRITTEN = 200
TIMEOUT_S = 300.0


def fill(address: str, bundle: Path) -> None:
    """Read all parts of the table in every slot, and write on to near its end. Raises grpc.RpcError."""
    words = words_of(bundle)
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(SEQUENCES) as pool:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)

        def ask(number: int) -> None:
            # Begun elsewhere each time: nothing that is cached is of use.
            turned = words[number * 7 :] + words[: number * 7]
            sampling = generation_pb2.Sampling(max_tokens=WRITTEN)
            request = generation_pb2.GenerateRequest(prompt="".join(turned), sampling=sampling)
            for _ in stub.Generate(request, timeout=TIMEOUT_S):
                pass

        list(pool.map(ask, range(SEQUENCES * ROUNDS)))


def words_of(bundle: Path) -> list[str]:
    """A word of its own token from every ROWS of the bundle's vocabulary, where there is one."""
    spelt = Tokenizer(open_bundle(bundle)).token_bytes()
    parts = (spelt[start : start + ROWS] for start in range(0, len(spelt), ROWS))
    found = (next((word for word in part if word[:1] == b" " and word[1:].isalpha()), None) for part in parts)
    return [word.decode() for word in found if word is not None]
