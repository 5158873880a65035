from typing import Any

import anyio
import pytest

from lineside.transport.mqtt.refusals import Refusals

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lineside.transport.mqtt.refusals.FIRST_S", 0.02)


async def until(condition: Any) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.005)


async def test_one_tries_the_topic_the_others_wait_and_go_once_it_is_taken():
    let_go: list[int] = []
    async with Refusals(let_go.extend) as refusals:
        assert not refusals.hold("a", 1)
        refusals.refused("a", 1)
        assert [refusals.hold("a", row) for row in (2, 3)] == [True, True]
        assert not refusals.hold("b", 4)
        await until(lambda: let_go == [1])
        assert not refusals.hold("a", 1)
        refusals.taken("b")
        assert let_go == [1]
        refusals.taken("a")
        assert let_go == [1, 2, 3]
        assert not refusals.hold("a", 5)


async def test_each_is_tried_in_turn_so_that_one_that_is_never_taken_stops_no_other():
    let_go: list[int] = []
    async with Refusals(let_go.extend) as refusals:
        refusals.refused("a", 1)
        refusals.hold("a", 2)
        for count in (1, 2, 3):
            await until(lambda count=count: len(let_go) == count)
            refusals.refused("a", let_go[-1])
    assert let_go == [1, 2, 1]


async def test_a_topic_whose_answers_were_given_up_is_forgotten():
    let_go: list[int] = []
    async with Refusals(let_go.extend) as refusals:
        refusals.refused("a", 1)
        await until(lambda: let_go == [1])
        await until(lambda: not refusals._topics)


async def test_what_the_broker_says_after_the_connection_changes_nothing():
    let_go: list[int] = []
    async with Refusals(let_go.extend) as refusals:
        refusals.refused("a", 1)
        refusals.hold("a", 2)
    refusals.refused("b", 3)
    refusals.taken("a")
    assert let_go == []
