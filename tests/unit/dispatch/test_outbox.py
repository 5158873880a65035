"""Answers that the broker does not take, or that nobody reads, are held by their rows alone."""

from concurrent.futures import Future

import anyio
import pytest
from tests.unit.dispatch.desk_parts import incoming

from lineside.errors import Reason, RejectedError
from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.journal_rows import NewReport
from lineside.outbox import PAGE, Outbox
from lineside.ports import OutgoingAnswer

pytestmark = pytest.mark.anyio

MANY = 5 * PAGE


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db", Limits(1000, 1 << 26))
    yield journal
    journal.close()


@pytest.fixture
def outbox(journal):
    return Outbox(journal, journal.published)


def store(journal, name):
    """An answer that is stored."""
    new = NewReport(incoming(id=name), name, 2, None, name.encode())
    return journal.accept(new).result(5).deliveries[0]


async def read(answers, count):
    found = []
    with anyio.fail_after(5):
        while len(found) < count:
            found.append(await anext(answers))
    return [answer.payload.decode() for answer in found]


async def nothing_more(answers):
    with anyio.move_on_after(0.05):
        return await anext(answers)


def held(outbox):
    return sum(isinstance(one, OutgoingAnswer) for one in outbox._waiting)


async def test_of_what_a_broker_does_not_take_few_are_held_and_all_go_out_once_and_in_order(journal, outbox):
    answers = outbox.answers()
    outbox.put(store(journal, "first"))
    assert await read(answers, 1) == ["first"]
    names = [f"n{number}" for number in range(MANY)]
    for name in names:
        outbox.put(store(journal, name))
    assert held(outbox) == PAGE
    assert len(outbox._waiting) == MANY
    assert await read(answers, MANY) == names
    assert await nothing_more(answers) is None
    assert outbox.unpublished == MANY + 1


async def test_what_waited_is_read_by_pages_and_what_comes_meanwhile_goes_out_once_behind_it(
    journal, outbox, monkeypatch
):
    pages, outgoing = [], journal.outgoing
    monkeypatch.setattr(journal, "outgoing", lambda rows: (pages.append(len(rows)), outgoing(rows))[1])
    names = [f"n{number}" for number in range(MANY)]
    for name in names:
        outbox.put(store(journal, name))
    assert outbox.unpublished == MANY
    answers = outbox.answers()
    assert await read(answers, 1) == names[:1]
    outbox.put(store(journal, "meanwhile"))
    assert await read(answers, MANY) == [*names[1:], "meanwhile"]
    assert await nothing_more(answers) is None
    assert pages == [PAGE] * 5
    assert outbox.unpublished == MANY + 1


async def test_what_is_stored_as_somebody_begins_to_read_goes_out_once(journal, outbox):
    """Told before, and after, the rows that wait are known."""
    early, late = store(journal, "early"), store(journal, "late")
    answers = outbox.answers()
    async with anyio.create_task_group() as group:
        found = []

        async def collect():
            found.extend(await read(answers, 3))

        group.start_soon(collect)
        await anyio.lowlevel.checkpoint()
        outbox.put(early)
        await anyio.sleep(0.1)
        outbox.put(late)
        outbox.put(store(journal, "newer"))
    assert found == ["early", "late", "newer"]
    assert outbox.unpublished == 3


async def test_while_nobody_reads_nothing_is_held(journal, outbox):
    answers = outbox.answers()
    outbox.put(store(journal, "a"))
    await read(answers, 1)
    await answers.aclose()
    outbox.put(store(journal, "b"))
    assert outbox._waiting is None
    assert await read(outbox.answers(), 2) == ["a", "b"]


async def test_what_was_given_up_meanwhile_does_not_go_out(journal, outbox):
    answers = outbox.answers()
    outbox.put(store(journal, "first"))
    await read(answers, 1)
    stored = [store(journal, f"n{number}") for number in range(PAGE + 2)]
    for answer in stored:
        outbox.put(answer)
    journal.published(stored[PAGE].row).result(5)
    names = await read(answers, PAGE + 1)
    assert names == [f"n{number}" for number in range(PAGE + 2) if number != PAGE]
    assert outbox.unpublished == PAGE + 2


async def test_a_journal_that_cannot_write_just_then_is_asked_again(journal, outbox, monkeypatch):
    monkeypatch.setattr("lineside.outbox.RETRY_S", 0.01)
    failed = Future()
    failed.set_exception(RejectedError(Reason.STORAGE, "full"))
    outgoing, unpublished = [failed], [failed]
    real = (journal.outgoing, journal.unpublished)
    monkeypatch.setattr(journal, "outgoing", lambda rows: outgoing.pop() if outgoing else real[0](rows))
    monkeypatch.setattr(journal, "unpublished", lambda: unpublished.pop() if unpublished else real[1]())
    store(journal, "a")
    assert await read(outbox.answers(), 1) == ["a"]
    assert outgoing == unpublished == []


async def test_what_is_refused_goes_out_again_where_it_still_waits(journal, outbox):
    answers = outbox.answers()
    first, second = store(journal, "first"), store(journal, "second")
    for answer in (first, second):
        outbox.put(answer)
    await read(answers, 2)
    journal.published(first.row).result(5)
    outbox.again([first.row, second.row])
    assert await read(answers, 1) == ["second"]
