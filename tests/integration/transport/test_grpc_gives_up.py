"""A server that grpc has given up lets go of its port, whoever clears up after it first."""

import asyncio

import anyio
import grpc.aio
import pytest
from tests.support import http2

from lineside.config import GrpcConfig
from lineside.transport.grpc.server import cleared, end_of, server_options

NO_TEXT = http2.call("/lineside.v1.AdminService/GetStatus", 1).replace(b"GetStatus", b"GetStat\x94s")


async def given_up(look_s, monkeypatch):
    """A server after a call whose name is no text, as soon as `end_of` has noticed it; its port."""
    monkeypatch.setattr("lineside.transport.grpc.server.LOOK_S", look_s)
    server = grpc.aio.server(options=server_options(GrpcConfig()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with http2.connect(port) as link:
        link.sendall(NO_TEXT)
        with anyio.fail_after(5):
            assert isinstance(await end_of(server), UnicodeDecodeError)
    return server, port


@pytest.mark.parametrize("look_s", [0, 0.3], ids=["before grpc itself", "after grpc itself"])
def test_what_made_it_give_up_is_not_raised_again_and_its_port_is_free(monkeypatch, look_s):
    async def ten_times():
        for _ in range(10):
            server, port = await given_up(look_s, monkeypatch)
            with anyio.fail_after(5):
                await cleared(server)
            after = grpc.aio.server(options=server_options(GrpcConfig()))
            assert after.add_insecure_port(f"127.0.0.1:{port}") == port
            await after.stop(None)

    # Not by anyio's plugin: grpc's own task ends with the error too, and nobody is there to hear it.
    asyncio.run(ten_times())
