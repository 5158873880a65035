"""Answers scrapers over HTTP/1.1: GET /metrics and nothing else. Knows nothing of what is on the page.

Everything is bounded: connections at once, a request's size, the time that a scraper may take to ask and to
read. One request a connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lineside.config import host_and_port
from lineside.errors import LinesideError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
MAX_REQUEST_BYTES = 8192
ASK_S, READ_S = 5.0, 10.0
# Whoever asks more often gets the same page again: scrapes cannot keep the daemon busy.
FRESH_S = 0.25

# A page of metrics for an Accept header: its content type and its text.
Page = Callable[[str], tuple[str, bytes]]


class BadRequestError(Exception):
    """What cannot be answered with a page. The first argument is the status."""


class MetricsServer:
    """Listens at `address`, as [telemetry] metrics has it."""

    def __init__(self, address: str, page: Page) -> None:
        self._address = address
        self._page = page
        self._pages: dict[str, tuple[float, tuple[str, bytes]]] = {}
        self._connections = 0
        self._listener: Listener[SocketStream] | None = None

    async def start(self) -> int:
        """Listen; the port. Raises LinesideError where that fails."""
        host, port = host_and_port(self._address)
        try:
            listener = await anyio.create_tcp_listener(
                local_host=host, local_port=port, backlog=MAX_CONNECTIONS
            )
        except OSError as error:
            hint = "set [telemetry] metrics to an address of this machine and a free port"
            message = f"cannot listen on {self._address}: {error.strerror or error}"
            raise LinesideError("start metrics", message, hint) from error
        self._listener = listener
        bound = int(listener.extra(SocketAttribute.local_port))  # noqa: S610 (not Django's)
        log.info("metrics are served", extra={"host": host, "port": bound})
        return bound

    async def run(self) -> None:
        """Answer until cancelled."""
        assert self._listener is not None
        await self._listener.serve(self._connected)

    async def stop(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            await self._listener.aclose()

    async def _connected(self, stream: SocketStream) -> None:
        async with stream:
            if self._connections >= MAX_CONNECTIONS:
                return
            self._connections += 1
            try:
                await self._answer(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
                pass  # it has gone
            finally:
                self._connections -= 1

    async def _answer(self, stream: SocketStream) -> None:
        try:
            method, accept = await _asked(stream)
        except BadRequestError as refusal:
            response = _response(refusal.args[0], "text/plain; charset=utf-8", b"")
        else:
            content_type, body = self._fresh(accept)
            response = _response(HTTPStatus.OK, content_type, body)
            if method == "HEAD":
                response = response[: -len(body)]
        with anyio.move_on_after(READ_S):
            await stream.send(response)

    def _fresh(self, accept: str) -> tuple[str, bytes]:
        """The page, made anew unless it has just been made."""
        key = "openmetrics" if "openmetrics" in accept else "plain"
        now_s = time.monotonic()
        made_s, page = self._pages.get(key, (0.0, ("", b"")))
        if not page[1] or now_s - made_s > FRESH_S:
            page = self._page(accept)
            self._pages[key] = (now_s, page)
        return page


async def _asked(stream: SocketStream) -> tuple[str, str]:
    """The method and what is accepted. Raises BadRequestError."""
    try:
        with anyio.fail_after(ASK_S):
            head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", MAX_REQUEST_BYTES)
    except TimeoutError:
        raise BadRequestError(HTTPStatus.REQUEST_TIMEOUT) from None
    except anyio.DelimiterNotFound:
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    if len(head) > MAX_REQUEST_BYTES:  # it came in one piece
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    request, *lines = head.decode("latin-1").split("\r\n")
    parts = request.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    method, target, _ = parts
    if target.partition("?")[0] != "/metrics":
        raise BadRequestError(HTTPStatus.NOT_FOUND)
    if method not in {"GET", "HEAD"}:
        raise BadRequestError(HTTPStatus.METHOD_NOT_ALLOWED)
    return method, _headers(lines).get("accept", "")


def _headers(lines: list[str]) -> Mapping[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _response(status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    """A whole response; a status with no body explains itself."""
    body = body or f"{status.value} {status.phrase}: GET /metrics is all that is served here\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
