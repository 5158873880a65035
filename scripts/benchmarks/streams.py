"""Generations over gRPC, each with the instants of its tokens. Knows no benchmark."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from lineside.v1 import common_pb2, generation_pb2, generation_pb2_grpc


@dataclass(frozen=True, slots=True)
class Heard:
    """Seconds of time.monotonic() at the call, at each token event and at the end; what was written.

    `tokens`: of each event, several of which may come in one.
    """

    called_s: float
    tokens_s: tuple[float, ...]
    tokens: tuple[int, ...]
    ended_s: float
    completion_tokens: int
    finish: int

    @property
    def first_s(self) -> float:
        """From the call to the first token."""
        return self.tokens_s[0] - self.called_s

    @property
    def whole_s(self) -> float:
        """From the call to the end."""
        return self.ended_s - self.called_s


def generate(
    channel: grpc.Channel,
    prompt: str,
    tokens: int,
    *,
    priority: common_pb2.Priority = common_pb2.PRIORITY_UNSPECIFIED,
    timeout_s: float = 600.0,
) -> Heard:
    """One greedy generation. Raises grpc.RpcError."""
    called_s, instants, tokens_of = time.monotonic(), list[float](), list[int]()
    written, finish = 0, 0
    for response in opened(channel, prompt, tokens, priority=priority, timeout_s=timeout_s):
        if response.HasField("end"):
            written, finish = response.end.usage.completion_tokens, response.end.finish_reason
        else:
            instants.append(time.monotonic())
            tokens_of.append(len(response.token.ids))
    return Heard(called_s, tuple(instants), tuple(tokens_of), time.monotonic(), written, finish)


def opened(
    channel: grpc.Channel,
    prompt: str,
    tokens: int,
    *,
    priority: common_pb2.Priority = common_pb2.PRIORITY_UNSPECIFIED,
    timeout_s: float = 600.0,
) -> Any:
    """The stream of a greedy generation: to be read, and cancelled."""
    request = generation_pb2.GenerateRequest(
        prompt=prompt,
        sampling=generation_pb2.Sampling(max_tokens=tokens),
        options=common_pb2.RequestOptions(priority=priority),
    )
    return generation_pb2_grpc.GenerationServiceStub(channel).Generate(request, timeout=timeout_s)


def at_once(address: str, prompts: Sequence[str], tokens: int) -> list[Heard]:
    """As many clients as prompts, each on a connection of its own, all beginning together."""
    return [heard for (heard,) in again_and_again(address, [[prompt] for prompt in prompts], tokens)]


def again_and_again(address: str, prompts: Sequence[Sequence[str]], tokens: int) -> list[list[Heard]]:
    """A client for each row of prompts, which asks for the next once it has the last; all begin together."""
    barrier = threading.Barrier(len(prompts))

    def client(mine: Sequence[str]) -> list[Heard]:
        with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
            grpc.channel_ready_future(channel).result(10)
            barrier.wait(60)
            return [generate(channel, prompt, tokens) for prompt in mine]

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(client, prompts))
