"""A revoked certificate gets nothing, whichever method it asks for. Knows no service and no list.

TLS lets it in, because grpc reads no revocation list: so each call is looked at, over old connections, too.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from lineside.transport.grpc.behaviours import Behaviour, around
from lineside.transport.grpc.calls import Calls, Rpc


class RevocationInterceptor(grpc.aio.ServerInterceptor):
    """Refuses the call before its method hears of it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler, behind a look at who calls."""
        handler: Any = await continuation(details)
        return None if handler is None else around(handler, self._any)

    def _any(self, behaviour: Behaviour) -> Any:
        return self._many(behaviour) if inspect.isasyncgenfunction(behaviour) else self._one(behaviour)

    def _one(self, behaviour: Behaviour) -> Any:
        async def answer(request: Any, rpc: Rpc) -> Any:
            async with self._calls.edge(rpc):
                self._calls.check_standing(rpc)
            return await behaviour(request, rpc)

        return answer

    def _many(self, behaviour: Behaviour) -> Any:
        async def answer(request: Any, rpc: Rpc) -> AsyncIterator[Any]:
            async with self._calls.edge(rpc):
                self._calls.check_standing(rpc)
            async for message in behaviour(request, rpc):
                yield message

        return answer
