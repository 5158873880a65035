"""The watchdog is fed by proofs, all of them, and by nothing else."""

import logging

import anyio
import pytest
from tests.support.manager import listening

from lineside.supervision.notify import Notifier
from lineside.supervision.watchdog import feed, loading, unproven

pytestmark = pytest.mark.anyio


async def proven():
    """A part that goes on."""


async def stuck():
    """A part that does not."""
    await anyio.sleep_forever()


async def broken():
    """A part that cannot say."""
    raise RuntimeError("no way")


@pytest.mark.parametrize(
    ("proofs", "missing"),
    [
        ({}, []),
        ({"a": proven, "b": proven}, []),
        ({"a": proven, "b": stuck}, ["b"]),
        ({"a": broken, "b": stuck, "c": proven}, ["a", "b"]),
    ],
)
async def test_a_part_that_does_not_prove_itself_is_named(proofs, missing):
    assert await unproven(proofs, 0.1) == missing


async def run_for(seconds, notifier, proofs):
    with anyio.move_on_after(seconds):
        await feed(notifier, proofs)


async def test_it_is_fed_while_all_go_on(tmp_path):
    with listening(tmp_path) as manager:
        await run_for(0.3, Notifier(manager.address, 0.2), {"a": proven})
        assert [manager.next(), manager.next()] == [{"WATCHDOG": "1"}] * 2


async def test_one_stuck_part_starves_it(tmp_path, caplog):
    with listening(tmp_path) as manager, caplog.at_level(logging.ERROR):
        await run_for(0.3, Notifier(manager.address, 0.2), {"a": proven, "b": stuck})
        assert not manager.hears("WATCHDOG", 0.01)
    assert {record.of for record in caplog.records} == {"b"}


async def test_without_a_watchdog_nothing_is_asked():
    with anyio.fail_after(1):
        await feed(Notifier("/nobody", 0.0), {"a": stuck})


async def test_a_long_start_asks_for_time_and_its_error_comes_through(tmp_path):
    with listening(tmp_path) as manager:
        with pytest.raises(ValueError, match="bad bundle"):
            async with loading(Notifier(manager.address)):
                await anyio.sleep(0.01)
                raise ValueError("bad bundle")
        assert manager.next() == {"STATUS": "loading"}
        assert manager.next() == {"EXTEND_TIMEOUT_USEC": "30000000"}


async def test_a_start_does_not_ask_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("lineside.supervision.watchdog.EXTEND_EVERY_S", 0.01)
    monkeypatch.setattr("lineside.supervision.watchdog.LOADING_MAX_S", 0.03)
    with listening(tmp_path) as manager:
        async with loading(Notifier(manager.address)):
            await anyio.sleep(0.2)
        assert [manager.next() for _ in range(4)][1:] == [{"EXTEND_TIMEOUT_USEC": "30000000"}] * 3
        assert not manager.hears("EXTEND_TIMEOUT_USEC", 0.05)
