"""For every test."""

import grpc.aio
import pytest


@pytest.fixture(scope="session", autouse=True)
def grpc_poller():
    """Kept for the session: grpc would close its poller with the last aio object, a callback still queued."""
    grpc.aio.init_grpc_aio()
    yield
    grpc.aio.shutdown_grpc_aio()


@pytest.fixture(scope="session")
def anyio_backend():
    """What the daemon runs on."""
    return "asyncio"
