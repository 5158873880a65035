"""Feeds the service manager's watchdog while every part proves that it goes on. Knows not how they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import anyio

from lineside.supervision.notify import Notifier

log = logging.getLogger(__name__)

# Returns once the part has done something that a stuck one could not.
Proof = Callable[[], Awaitable[None]]

EXTEND_EVERY_S = 10.0
EXTEND_BY_S = 30.0
LOADING_MAX_S = 1800.0


async def feed(notifier: Notifier, proofs: Mapping[str, Proof]) -> None:
    """For ever. A proof may take half the watchdog's time: the manager then hears in time of the next."""
    if not notifier.watchdog_s:
        return
    while True:
        missing = await unproven(proofs, notifier.watchdog_s / 2)
        if missing:
            log.error(
                "no progress: the service manager is not told to wait", extra={"of": ", ".join(missing)}
            )
        else:
            notifier.send(WATCHDOG=1)
        await anyio.sleep(notifier.watchdog_s / 4)


async def unproven(proofs: Mapping[str, Proof], timeout_s: float) -> list[str]:
    """The parts that do not prove in time that they go on."""
    missing = set(proofs)

    async def prove(name: str) -> None:
        try:
            await proofs[name]()
        except Exception:
            log.exception("%s cannot prove that it goes on", name)
        else:
            missing.discard(name)

    with anyio.move_on_after(timeout_s):
        async with anyio.create_task_group() as group:
            for name in proofs:
                group.start_soon(prove, name, name=f"prove {name}")
    return sorted(missing)


@contextlib.asynccontextmanager
async def loading(notifier: Notifier) -> AsyncIterator[None]:
    """Ask the manager for more time, again and again but not for ever, while something long is done."""
    notifier.send(STATUS="loading")
    # Not a task group: it would wrap the errors of what is done meanwhile.
    task = asyncio.create_task(_extend(notifier), name="extend the start")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _extend(notifier: Notifier) -> None:
    for _ in range(round(LOADING_MAX_S / EXTEND_EVERY_S)):
        notifier.send(EXTEND_TIMEOUT_USEC=round(EXTEND_BY_S * 1e6))
        await anyio.sleep(EXTEND_EVERY_S)
