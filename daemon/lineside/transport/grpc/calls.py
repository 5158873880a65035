"""What every call has: a seat, a deadline, a principal and one status at its end. Knows no message type."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from urllib.parse import unquote

import anyio
import grpc
import grpc.aio

from lineside.errors import REASONS, Reason, RejectedError
from lineside.ports import Admin, Call
from lineside.security.roles import Roles
from lineside.serving.request import Principal, Priority

if TYPE_CHECKING:
    from lineside.security.revoked import RevocationList

logger = logging.getLogger("lineside.transport.grpc")

# No request may bind a slot for longer, whatever its sender asks.
MAX_TIMEOUT_MS = 86_400_000
# What a client is told to wait where only the number of calls in flight is in the way.
OVERLOAD_RETRY_MS = 1000
MAX_MESSAGE = 500

Rpc: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class CallDefaults:
    """What a request gets that does not say, and who has which role."""

    timeout_ms: int
    max_tokens: int
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a request asks for itself. `timeout_ms` 0: it does not say."""

    timeout_ms: int = 0
    priority: Priority | None = None
    idempotency_key: str = ""


class Calls:
    """The calls that work for a client: how many there are, and how each begins and ends."""

    def __init__(
        self,
        admin: Admin,
        roles: Roles,
        max_in_flight: int,
        default_timeout_ms: int,
        revoked: RevocationList | None = None,
    ) -> None:
        self._admin = admin
        self._revoked = revoked
        self._roles = roles
        self._max_in_flight = max_in_flight
        self._default_timeout_ms = default_timeout_ms
        self._in_flight = 0
        self._draining = False
        self._idle = anyio.Event()

    def edge(self, rpc: Rpc) -> Edge:
        """Ends the call with the status of what the block raises."""
        return Edge(self, rpc)

    def guard(self, rpc: Rpc) -> Guard:
        """An edge that holds a seat while the block runs."""
        return Guard(self, rpc)

    def open(self, rpc: Rpc, options: CallOptions) -> Call:
        """The domain's view of a call that has just arrived."""
        deadline_ns = time.monotonic_ns() + self._timeout_ms(rpc, options.timeout_ms) * 1_000_000
        return Call(self.principal(rpc), deadline_ns, options.priority, options.idempotency_key)

    def principal(self, rpc: Rpc) -> Principal:
        """Who calls: the client certificate's name, which TLS has verified, else the address.

        Raises RejectedError where the certificate has been revoked since the call began.
        """
        self.check_standing(rpc)
        if name := certificate_name(rpc.auth_context()):
            return self._roles.known("grpc", name)
        return self._roles.anonymous("grpc", peer_address(rpc.peer()))

    def check_standing(self, rpc: Rpc) -> None:
        """Raises RejectedError for whoever shows a certificate that has been revoked."""
        if self._revoked is None:
            return
        shown = rpc.auth_context()
        # Our own probe comes over a socket in a directory of ours, without TLS.
        if shown.get("transport_security_type"):
            self._revoked.check(b"".join(shown.get("x509_pem_cert", ())))

    def take(self) -> None:
        """Take a seat. Raises RejectedError where there is none."""
        if self._draining:
            raise RejectedError(Reason.DRAINING, "the daemon is stopping", retry_after_ms=OVERLOAD_RETRY_MS)
        if self._in_flight >= self._max_in_flight:
            message = f"{self._in_flight} calls are in flight already"
            raise RejectedError(Reason.OVERLOAD, message, retry_after_ms=OVERLOAD_RETRY_MS)
        self._in_flight += 1
        self._admin.count("grpc_calls")

    def give_back(self) -> None:
        """Give a seat back."""
        self._in_flight -= 1
        if self._draining and self._in_flight == 0:
            self._idle.set()

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and wait for those in flight, `grace_s` at most."""
        self._draining = True
        if self._in_flight == 0:
            return
        with anyio.move_on_after(grace_s):
            await self._idle.wait()

    def rejection(self, error: Exception) -> RejectedError:
        """`error` as its sender shall see it: counted, and logged here, once."""
        if not isinstance(error, RejectedError):
            logger.error("a call failed", exc_info=error)
            error = RejectedError(Reason.INTERNAL, "internal error; the daemon's log says more")
        else:
            row = REASONS[error.reason]
            fields = {"reason": error.reason.value, "field": error.field}
            logger.log(row.log_level, "rejected a call: %s", error.message, extra=fields)
        self._admin.count(f"grpc_rejected_{error.reason.value}")
        return error

    def _timeout_ms(self, rpc: Rpc, asked_ms: int) -> int:
        remaining_s = rpc.time_remaining()
        asked = [asked_ms] if asked_ms else []
        if remaining_s is not None:
            asked.append(max(0, int(remaining_s * 1000)))
        return min(*asked, MAX_TIMEOUT_MS) if asked else self._default_timeout_ms


class Edge:
    """See Calls.edge."""

    def __init__(self, calls: Calls, rpc: Rpc) -> None:
        self._calls = calls
        self._rpc = rpc

    async def __aenter__(self) -> None:
        """Nothing to prepare."""

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # Where the client has gone, there is nobody to tell and what failed is the telling.
        if isinstance(error, Exception) and not self._rpc.cancelled():
            await abort(self._rpc, self._calls.rejection(error))


class Guard(Edge):
    """See Calls.guard."""

    async def __aenter__(self) -> None:
        try:
            self._calls.take()
        except RejectedError as error:
            await abort(self._rpc, self._calls.rejection(error))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.give_back()
        await super().__aexit__(kind, error, trace)


async def abort(rpc: Rpc, error: RejectedError) -> NoReturn:
    """End a call with the status of the error's reason."""
    status = grpc.StatusCode[REASONS[error.reason].grpc_status]
    message = f"{error.field}: {error.message}" if error.field else error.message
    # Status and metadata travel in headers, whose size the client bounds.
    await rpc.abort(status, message[:MAX_MESSAGE], trailing_metadata(error))


def trailing_metadata(error: RejectedError) -> tuple[tuple[str, str], ...]:
    """What a program reads of an error."""
    pairs = [("lineside-reason", error.reason.value)]
    if error.field:
        pairs.append(("lineside-field", error.field.encode("ascii", "backslashreplace").decode()))
    if error.retry_after_ms:
        pairs.append(("lineside-retry-after-ms", str(error.retry_after_ms)))
    return tuple(pairs)


def peer_address(peer: str) -> str:
    """The IP address in gRPC's name of a peer, such as ipv4:127.0.0.1:4711 or ipv6:%5B::1%5D:4711."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].strip("[]")


def certificate_name(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """The common name of the client's certificate; empty where it showed none."""
    for name in auth_context.get("x509_common_name", ()):
        return name.decode("utf-8", "replace")
    return ""
