"""A method's handler with another behaviour around its own. Knows nothing of what that is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from lineside.transport.grpc.calls import Rpc

Behaviour = Callable[[Any, Rpc], Any]

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def around(
    handler: Any, wrap: Callable[[Behaviour], Behaviour], reads: Callable[[bytes], Any] | None = None
) -> grpc.RpcMethodHandler[Any, Any]:
    """`handler` with what `wrap` makes of its behaviour; `reads` in the place of how it reads requests."""
    kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    made: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(getattr(handler, kind)), reads or handler.request_deserializer, handler.response_serializer
    )
    return made
