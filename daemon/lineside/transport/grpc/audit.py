"""Every call of a client is recorded once it has ended. Knows no message type, nor where records go."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from lineside.ports import Auditor, AuditRecord
from lineside.transport.grpc.behaviours import Behaviour, around
from lineside.transport.grpc.calls import Rpc, certificate_name, peer_address

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class AuditInterceptor(grpc.aio.ServerInterceptor):
    """Outermost: what others refuse is recorded, too. Methods beside those under `prefixes` are not."""

    def __init__(self, audit: Auditor, prefixes: tuple[str, ...]) -> None:
        self._audit = audit
        self._prefixes = prefixes

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler, with a record at its end."""
        handler: Any = await continuation(details)
        method = str(details.method)
        if handler is None or not method.startswith(self._prefixes):
            return handler  # type: ignore[no-any-return] # None: no such method
        return around(handler, lambda behaviour: self._any(behaviour, method))

    def _any(self, behaviour: Behaviour, method: str) -> Any:
        one = not inspect.isasyncgenfunction(behaviour)
        return self._one(behaviour, method) if one else self._many(behaviour, method)

    def _one(self, behaviour: Behaviour, method: str) -> Any:
        async def answer(request: Any, rpc: Rpc) -> Any:
            with self._recorded(request, rpc, method):
                return await behaviour(request, rpc)

        return answer

    def _many(self, behaviour: Behaviour, method: str) -> Any:
        async def answer(request: Any, rpc: Rpc) -> AsyncIterator[Any]:
            with self._recorded(request, rpc, method):
                async for message in behaviour(request, rpc):
                    yield message

        return answer

    @contextmanager
    def _recorded(self, request: Any, rpc: Rpc, method: str) -> Iterator[None]:
        begun_s, failed, left = time.monotonic(), True, False
        try:
            yield
            failed = False
        except (asyncio.CancelledError, GeneratorExit):
            left = True
            raise
        finally:
            name = certificate_name(rpc.auth_context()) or peer_address(rpc.peer())
            metadata = dict(rpc.trailing_metadata() or ())
            record = AuditRecord(
                who=f"grpc:{name}",
                what=method.rpartition("/")[2],
                outcome=outcome_of(rpc, failed=failed, left=left),
                took_ms=round((time.monotonic() - begun_s) * 1000),
                reason=str(metadata.get("lineside-reason", "")),
                payload=str(request) if self._audit.payloads else "",
            )
            self._audit.record(record)


def outcome_of(rpc: Rpc, *, failed: bool, left: bool) -> str:
    """The status that the call ended with, by name. `left`: nobody waited for it any more."""
    code: Any = rpc.code()
    if isinstance(code, int):
        code = _CODES.get(code)
    if code is not None and (code is not grpc.StatusCode.OK or not failed):
        return str(code.name)
    if left:
        late = rpc.time_remaining() == 0
        return (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
    if failed:
        return grpc.StatusCode.UNKNOWN.name
    return grpc.StatusCode.OK.name
