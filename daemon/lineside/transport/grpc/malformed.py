"""Bytes that are no message are the sender's error, with a status of their own. Knows no service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from lineside.errors import Reason, RejectedError
from lineside.transport.grpc.behaviours import Behaviour, around
from lineside.transport.grpc.calls import Calls, Rpc


@dataclass(frozen=True, slots=True)
class Malformed:
    """In the place of a message that could not be read."""

    size: int

    def rejection(self) -> RejectedError:
        """What its sender hears."""
        return RejectedError(Reason.INVALID, f"the {self.size} bytes are no message of this method")


class MalformedInterceptor(grpc.aio.ServerInterceptor):
    """Answers a malformed message for the methods under `prefixes`; in a stream the method itself does."""

    def __init__(self, calls: Calls, prefixes: tuple[str, ...]) -> None:
        self._calls = calls
        self._prefixes = prefixes

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler, with another way to read its requests."""
        handler: Any = await continuation(details)
        if handler is None or not str(details.method).startswith(self._prefixes):
            return handler  # type: ignore[no-any-return] # None: no such method
        wrap = _as_it_is if handler.request_streaming else self._checked
        return around(handler, wrap, tolerant(handler.request_deserializer))

    def _checked(self, behaviour: Behaviour) -> Any:
        async def answer(request: Any, rpc: Rpc) -> Any:
            if isinstance(request, Malformed):
                async with self._calls.edge(rpc):
                    raise request.rejection()
            return await behaviour(request, rpc)

        return answer


def tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """`deserialize`, or what stands for its failure."""

    def read(raw: bytes) -> Any:
        try:
            return deserialize(raw)
        except DecodeError:
            return Malformed(len(raw))

    return read


def _as_it_is(behaviour: Behaviour) -> Behaviour:
    return behaviour
