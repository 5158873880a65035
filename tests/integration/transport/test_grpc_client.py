"""The command line's client against a real server, and against none."""

from __future__ import annotations

import dataclasses
import json
import socket
from typing import NamedTuple

import grpc.aio
import pytest
from tests.integration.transport.mqtt_parts import in_thread
from tests.integration.transport.transport_parts import REPORT, serving
from tests.support.ports import free_port

from lineside.errors import REASONS, LinesideError, Reason
from lineside.transport.grpc import client

pytestmark = pytest.mark.anyio


class Pair(NamedTuple):
    key: str
    value: str


async def failure(address: str, report: bytes = REPORT, timeout_s: float = 5) -> LinesideError:
    with pytest.raises(LinesideError) as caught:
        await in_thread(client.diagnose, address, report, timeout_s)
    return caught.value


async def test_diagnose_returns_the_document():
    async with serving() as served:
        document = await in_thread(client.diagnose, served.address, REPORT, 5)
    assert json.loads(document)["dev"]["id"] == "press-7"


async def test_status_returns_the_facts_of_the_daemon():
    async with serving() as served:
        facts = await in_thread(client.status, served.address)
        expected = served.admin.status()
    assert facts == dataclasses.replace(expected, counters=facts.counters)


async def test_without_a_daemon_it_says_how_to_start_one():
    address = f"127.0.0.1:{free_port()}"
    error = await failure(address)
    assert address in error.message
    assert "lineside serve" in error.hint
    with pytest.raises(LinesideError) as caught:
        await in_thread(client.status, address)
    assert "lineside serve" in caught.value.hint


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving() as served:
        assert await in_thread(client.diagnose, served.address, REPORT, 5)


async def test_a_bad_report_is_explained_with_its_reason():
    async with serving() as served:
        error = await failure(served.address, b'{"dev":{"id":"a"},"alarm":{}}')
    assert "invalid: alarm: alarm.code, alarm.text, or alarm.word" in error.message
    assert "lineside schema report" in error.hint


@pytest.mark.parametrize("reason", list(Reason))
def test_every_refusal_says_what_to_do(reason: Reason):
    class Refused(grpc.RpcError):
        code = staticmethod(lambda: grpc.StatusCode[REASONS[reason].grpc_status])
        details = staticmethod(lambda: "why")
        trailing_metadata = staticmethod(lambda: (Pair("lineside-reason", reason.value),))

    error = client.explained("127.0.0.1:1", "diagnose", Refused())
    assert error.hint
    assert "why" in error.message


async def test_a_daemon_that_takes_too_long_is_told_from_none():
    async with serving() as served:
        error = await failure(served.address, b'{"dev":{"id":"a"},"alarm":{"text":"!wait"}}', timeout_s=0.3)
    assert "deadline" in error.message
    assert "more time" in error.hint


async def test_a_daemon_that_drains_is_told_from_none():
    async with serving() as served:
        served.server._calls._draining = True
        error = await failure(served.address)
    assert "stopping" in error.message
    assert "again later" in error.hint


async def test_another_server_is_told_from_a_daemon():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        error = await failure(f"127.0.0.1:{port}")
    finally:
        await server.stop(0)
    assert "something else" in error.hint


async def test_a_port_that_is_no_server_at_all_is_unavailable():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = await failure(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=1)
    assert error.hint
