"""Scrapers, polite and other, on a real socket."""

import socket
from contextlib import asynccontextmanager

import anyio
import pytest

from lineside.errors import LinesideError
from lineside.transport.http import metrics as module
from lineside.transport.http.metrics import MAX_CONNECTIONS, MAX_REQUEST_BYTES, MetricsServer

pytestmark = pytest.mark.anyio

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Pages:
    """Counts what it is asked for."""

    def __init__(self, text=b"up 1\n"):
        self.text, self.asked = text, []

    def __call__(self, accept):
        self.asked.append(accept)
        return "text/plain", self.text


@asynccontextmanager
async def serving(pages):
    server = MetricsServer("127.0.0.1:0", pages)
    port = await server.start()
    async with anyio.create_task_group() as group:
        group.start_soon(server.run)
        yield port
        group.cancel_scope.cancel()
    await server.stop()


async def receive(stream):
    with anyio.fail_after(5):
        return b"".join([part async for part in stream])


async def ask(port, request):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        return await receive(stream)


async def test_the_page():
    pages = Pages()
    async with serving(pages) as port:
        response = await ask(port, GET.replace(b"Host: x", b"Accept: text/x"))
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert b"Content-Length: 5" in head
    assert body == b"up 1\n"
    assert pages.asked == ["text/x"]


async def test_head_is_the_page_without_its_text():
    async with serving(Pages()) as port:
        response = await ask(port, GET.replace(b"GET", b"HEAD"))
    assert response.endswith(b"\r\n\r\n")
    assert b"Content-Length: 5" in response


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/x HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST_BYTES + b"\r\n\r\n", b"431"),
    ],
)
async def test_other_requests_are_refused_and_say_what_is_served(request_bytes, status):
    pages = Pages()
    async with serving(pages) as port:
        response = await ask(port, request_bytes)
        assert response.startswith(b"HTTP/1.1 " + status)
        assert b"GET /metrics" in response
        assert not pages.asked
        assert (await ask(port, GET)).startswith(b"HTTP/1.1 200")


async def test_a_query_does_no_harm():
    async with serving(Pages()) as port:
        response = await ask(port, GET.replace(b"/metrics", b"/metrics?name=x"))
    assert response.startswith(b"HTTP/1.1 200")


async def test_who_asks_often_gets_the_same_page_again(monkeypatch):
    pages = Pages()
    async with serving(pages) as port:
        for _ in range(3):
            await ask(port, GET)
        assert len(pages.asked) == 1
        monkeypatch.setattr(module, "FRESH_S", 0.0)
        await ask(port, GET)
    assert len(pages.asked) == 2


async def test_who_does_not_ask_is_sent_away(monkeypatch):
    monkeypatch.setattr(module, "ASK_S", 0.05)
    async with serving(Pages()) as port:
        assert (await ask(port, b"GET /met")).startswith(b"HTTP/1.1 408")


async def test_one_connection_too_many_is_closed_and_the_next_is_served_again():
    async with serving(Pages()) as port:
        idle = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        assert await refused(port)
        for stream in idle:
            await stream.aclose()
        with anyio.fail_after(5):
            while await refused(port):
                await anyio.lowlevel.checkpoint()


async def refused(port):
    try:
        return await ask(port, GET) == b""
    except anyio.BrokenResourceError:
        return True


async def test_who_does_not_read_is_let_go(monkeypatch):
    monkeypatch.setattr(module, "READ_S", 0.05)
    async with serving(Pages(b"x" * 50_000_000)) as port:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await anyio.to_thread.run_sync(lazy.connect, ("127.0.0.1", port))
            lazy.sendall(GET)
            got = await anyio.to_thread.run_sync(lambda: _drained(lazy))
    assert got < 50_000_000


def _drained(lazy):
    """How much comes after a pause in which the server has given up."""
    import time

    time.sleep(0.2)
    lazy.settimeout(5)
    total = 0
    try:
        while part := lazy.recv(1 << 20):
            total += len(part)
    except ConnectionError:
        pass
    return total


async def test_a_busy_port_is_named():
    async with serving(Pages()) as port:
        with pytest.raises(LinesideError, match=f"127.0.0.1:{port}") as caught:
            await MetricsServer(f"127.0.0.1:{port}", Pages()).start()
    assert "[telemetry] metrics" in caught.value.hint
