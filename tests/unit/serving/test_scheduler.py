import dataclasses

import pytest

from lineside.engine.base import Capabilities, Costs
from lineside.serving.drafts import Chances, Drafter
from lineside.serving.request import Priority
from lineside.serving.scheduler import ALERT_NS, LASTING_CHUNK, Scheduler
from lineside.serving.steps import Sequence


def capabilities(slots=2, chunk=8, *, costs=None, mixed=False):
    costs = costs or Costs(tuple(100 + 10 * n for n in range(slots)), 100, 10)
    return Capabilities("t", "t", slots, 64, chunk, 50, mixed, 0, costs)


def sequence(name, prompt=3, priority=Priority.NORMAL, deadline_ns=1000):
    return Sequence(name, priority, deadline_ns, list(range(prompt)))


def carry_out(scheduler, batch):
    by_slot = scheduler.by_slot()
    for extension in batch:
        scheduler.advance(extension, by_slot[extension.slot].id)
        if extension.rows:
            by_slot[extension.slot].tokens.append(7)


def test_a_prompt_is_one_chunk_and_wants_its_last_row():
    scheduler = Scheduler(capabilities())
    scheduler.add(sequence("a", 5))
    (extension,) = scheduler.plan().batch
    assert (extension.slot, extension.past_len, extension.tokens, extension.rows) == (
        0,
        0,
        (0, 1, 2, 3, 4),
        (4,),
    )


def test_a_long_prompt_is_cut_and_only_its_last_chunk_wants_logits():
    scheduler = Scheduler(capabilities(chunk=8))
    scheduler.add(sequence("a", 20))
    lengths, rows = [], []
    for _ in range(3):
        batch = scheduler.plan().batch
        lengths.append(len(batch[0].tokens))
        rows.append(batch[0].rows)
        carry_out(scheduler, batch)
    assert lengths == [8, 8, 4]
    assert rows == [(), (), (3,)]


def test_rows_of_the_last_tokens_are_wanted_in_whatever_chunks_they_come():
    scheduler = Scheduler(capabilities(chunk=8))
    scheduler.add(Sequence("a", Priority.NORMAL, 1000, list(range(20)), rows=7))
    rows = []
    while scheduler.by_slot().get(0) is None or scheduler.by_slot()[0].pending:
        (extension,) = scheduler.plan().batch
        rows.append(extension.rows)
        scheduler.advance(extension, "a")
    assert rows == [(), (5, 6, 7), (0, 1, 2, 3)]


def test_a_long_prompt_stalls_a_running_sequence_for_no_more_than_one_chunk():
    scheduler = Scheduler(capabilities(chunk=8))
    scheduler.add(sequence("a", 3))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("b", 40))
    for _ in range(5):
        batch = scheduler.plan().batch
        assert len(batch) == 2
        assert sorted(len(e.tokens) for e in batch) == [1, 8]
        carry_out(scheduler, batch)


@pytest.mark.parametrize("forced", [4, 20])
@pytest.mark.parametrize("reader", [Priority.HIGH, Priority.CRITICAL])
@pytest.mark.parametrize("mixed", [False, True])
def test_nor_one_that_has_several_tokens_forced(forced, reader, mixed):
    """However urgent the prompt is; beside a critical one, where it is critical too."""
    costs = Costs((10_000, 11_000), 5, 2)
    scheduler = Scheduler(
        dataclasses.replace(capabilities(chunk=8, costs=costs, mixed=mixed), max_seq_len=2000)
    )
    priority = Priority.CRITICAL if reader is Priority.CRITICAL else Priority.NORMAL
    scheduler.add(sequence("a", 3, priority, deadline_ns=9000))
    carry_out(scheduler, scheduler.plan().batch)
    writer = scheduler.by_slot()[0]
    scheduler.extend(writer, list(range(forced - 1)))
    scheduler.add(sequence("b", 1000, reader))
    before = writer.past_len
    while writer.past_len < before + forced:
        cached = writer.past_len
        for _ in range(2):
            carry_out(scheduler, scheduler.plan().batch)
        assert writer.past_len > cached


def test_one_that_lost_its_slot_reads_like_any_other():
    """It has written, and has all of that to read again."""
    costs = Costs((10_000,), 5, 2)
    scheduler = Scheduler(dataclasses.replace(capabilities(slots=2, chunk=8, costs=costs), max_seq_len=2000))
    low = sequence("low", 30, Priority.LOW)
    scheduler.add(low)
    while low.pending:
        for step in scheduler.plan().batch:
            scheduler.advance(step, "low")
    assert low.writing
    for name in ("x", "y"):
        scheduler.add(sequence(name, 3, Priority.HIGH))
    assert scheduler.plan().preempted == ["low"]
    assert not low.writing


# Chunks of them take longer than asking again does.
LONG = Costs((10_000_000, 11_000_000, 12_000_000), 5_000_000, 2_000_000)


def reads_beside_running_ones(**fields):
    """What five plans take of each, "c" reading 44 tokens beside "a" and "b", which have just written."""
    scheduler = Scheduler(capabilities(slots=3, chunk=16, costs=LONG, **fields))
    for name in "ab":
        scheduler.add(sequence(name))
    for _ in range(2):
        carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("c", Priority.NORMAL, 1000, list(range(10, 54))))
    plans = []
    for _ in range(5):
        batch = scheduler.plan().batch
        plans.append({scheduler.by_slot()[e.slot].id: len(e.tokens) for e in batch})
        carry_out(scheduler, batch)
    return plans


def test_long_chunks_and_steps_take_turns():
    steps = {"a": 1, "b": 1}
    assert reads_beside_running_ones() == [{"c": 16}, steps, {"c": 16}, steps, {"c": 12}]


def test_an_engine_that_does_both_at_once_is_given_both():
    assert reads_beside_running_ones(mixed=True)[0] == {"a": 1, "b": 1, "c": 16}


@pytest.mark.parametrize(
    ("unread", "token_ns", "apart"),
    [(16, 1_000_000, True), (16, 999_999, False), (8, 5_000_000, False), (9, 5_000_000, True)],
)
def test_turns_are_for_prompts_that_take_as_long_as_asking_again(unread, token_ns, apart):
    """20 ms; and as few tokens as a draft's are no prompt."""
    costs = Costs((10_000_000, 11_000_000), 4_000_000, token_ns)
    scheduler = Scheduler(capabilities(chunk=16, costs=costs))
    scheduler.add(sequence("a"))
    for _ in range(2):
        carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, list(range(10, 10 + unread))))
    assert len(scheduler.plan().batch) == (1 if apart else 2)


def test_those_that_stood_still_for_a_critical_one_step_before_others_read():
    scheduler = Scheduler(capabilities(slots=3, chunk=32, costs=LONG))
    scheduler.add(sequence("a"))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("critical", 3, Priority.CRITICAL))
    for _ in range(2):
        carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("critical")
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, list(range(10, 54))))
    assert [len(e.tokens) for e in scheduler.plan().batch] == [1]


def test_a_step_that_checks_drafts_is_a_turn_of_those_that_write():
    scheduler = Scheduler(capabilities(slots=3, chunk=32, costs=LONG))
    drafting = sequence("a")
    scheduler.add(drafting)
    carry_out(scheduler, scheduler.plan().batch)
    drafting.drafter, drafting.draft = Drafter(Chances()), [7, 7]
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, list(range(10, 54))))
    assert [len(e.tokens) for e in scheduler.plan().batch] == [32]


def test_of_what_comes_together_the_short_goes_first():
    scheduler = Scheduler(capabilities(slots=3, chunk=32, costs=LONG))
    scheduler.add(Sequence("long", Priority.NORMAL, 1000, list(range(10, 54))))
    scheduler.add(sequence("short", 3))
    lengths = []
    for _ in range(3):
        batch = scheduler.plan().batch
        lengths.append([len(e.tokens) for e in batch])
        carry_out(scheduler, batch)
    assert lengths == [[3], [32], [1]]


def test_two_prompts_share_one_budget_a_step():
    scheduler = Scheduler(capabilities(chunk=8))
    scheduler.add(sequence("a", 6))
    scheduler.add(sequence("b", 6))
    assert sorted(len(e.tokens) for e in scheduler.plan().batch) == [2, 6]


def test_the_most_urgent_gets_the_free_slot():
    scheduler = Scheduler(capabilities(slots=1))
    scheduler.add(sequence("late", deadline_ns=900))
    scheduler.add(sequence("soon", deadline_ns=100))
    scheduler.add(sequence("critical", priority=Priority.CRITICAL))
    order = []
    for _ in range(3):
        scheduler.plan()
        (running,) = scheduler.by_slot().values()
        order.append(running.id)
        scheduler.remove(running.id)
    assert order == ["critical", "soon", "late"]


def test_equal_urgency_goes_by_age():
    scheduler = Scheduler(capabilities(slots=1))
    for name in ("first", "second"):
        scheduler.add(sequence(name))
    scheduler.plan()
    assert scheduler.by_slot()[0].id == "first"


def test_a_running_sequence_gives_its_slot_to_one_of_higher_priority():
    scheduler = Scheduler(capabilities(slots=2))
    for name, deadline in (("sooner", 500), ("later", 900)):
        scheduler.add(sequence(name, deadline_ns=deadline))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("alarm", priority=Priority.CRITICAL))
    scheduler.plan()
    assert {s.id for s in scheduler.by_slot().values()} == {"sooner", "alarm"}
    scheduler.remove("alarm")
    scheduler.plan()
    assert {s.id for s in scheduler.by_slot().values()} == {"sooner", "later"}


@pytest.mark.parametrize("fields", [{"deadline_ns": 1}, {"priority": Priority.LOW}])
def test_a_running_sequence_keeps_its_slot_when_one_of_its_priority_or_lower_comes(fields):
    scheduler = Scheduler(capabilities(slots=1))
    scheduler.add(sequence("a"))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("b", **fields))
    scheduler.plan()
    assert scheduler.by_slot()[0].id == "a"


def test_one_that_has_given_some_of_its_rows_keeps_its_slot():
    scheduler = Scheduler(capabilities(slots=1))
    scheduler.add(Sequence("a", Priority.LOW, 1000, list(range(20)), rows=15))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("b", priority=Priority.CRITICAL))
    scheduler.plan()
    assert scheduler.by_slot()[0].id == "a"


@pytest.mark.parametrize(("kept", "begins_at"), [(1, 20), (0, 0)])
def test_a_preempted_cache_is_kept_where_it_can_be_and_read_again_where_not(kept, begins_at):
    scheduler = Scheduler(dataclasses.replace(capabilities(slots=1, chunk=32), kept_slots=kept))
    scheduler.add(sequence("a", 20, Priority.LOW))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("alarm", Priority.CRITICAL, 1000, list(range(30, 50))))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("alarm")
    step = scheduler.plan()
    assert [copy.length for copy in step.copies][-1:] == [begins_at] * kept
    (extension,) = step.batch
    assert extension.past_len == begins_at
    assert len(extension.tokens) == 21 - begins_at
    assert scheduler.by_slot()[0].reused == 0, "what it had read itself is no reuse"


def test_slots_come_back_and_the_lowest_is_used_first():
    scheduler = Scheduler(capabilities(slots=3))
    for name in "abc":
        scheduler.add(sequence(name))
    scheduler.plan()
    slots = {s.id: s.slot for s in scheduler.by_slot().values()}
    scheduler.remove("c")
    scheduler.remove("a")
    assert (scheduler.running, scheduler.waiting) == (1, 0)
    scheduler.add(sequence("d"))
    scheduler.plan()
    assert {s.id: s.slot for s in scheduler.by_slot().values()} == {"b": slots["b"], "d": 0}


def test_expired_names_running_and_waiting_sequences():
    scheduler = Scheduler(capabilities(slots=1))
    scheduler.add(sequence("a", deadline_ns=10))
    scheduler.add(sequence("b", deadline_ns=10))
    scheduler.add(sequence("c", deadline_ns=11))
    scheduler.plan()
    assert scheduler.expired(9) == []
    assert scheduler.expired(10) == ["a", "b"]
    assert scheduler.expired(10) == ["a", "b"], "until they are removed"
    scheduler.remove("a")
    scheduler.remove("b")
    assert scheduler.expired(10) == []
    scheduler.add(sequence("d", deadline_ns=5))
    assert scheduler.expired(10) == ["d"]
    assert scheduler.expired(11) == ["c", "d"]


def test_a_step_names_whose_it_is_and_who_begins_with_it():
    scheduler = Scheduler(capabilities(slots=1))
    scheduler.add(sequence("a", 4, Priority.LOW))
    steps = []
    for _ in range(3):
        steps.append(scheduler.plan())
        carry_out(scheduler, steps[-1].batch)
    scheduler.add(sequence("alarm", 5, Priority.CRITICAL))
    steps.append(scheduler.plan())
    scheduler.remove("alarm")
    steps.append(scheduler.plan())
    names = [[[s.id for s in found] for found in (step.sequences, step.begun)] for step in steps]
    assert names == [[["a"], ["a"]], [["a"], []], [["a"], []], [["alarm"], ["alarm"]], [["a"], ["a"]]]
    assert [step.preempted for step in steps] == [[], [], [], ["a"], []]


def test_what_cannot_be_done_in_time_even_alone_is_hopeless():
    """40 tokens in one chunk take 500, each of 5 more 22 in a draft of 8: 9 tenths of 610 are 549."""
    scheduler = Scheduler(capabilities(chunk=64))
    for name, deadline in (("no", 547), ("may", 550)):
        one = sequence(name, 40, deadline_ns=deadline)
        one.goal = 45
        scheduler.add(one)
    assert scheduler.hopeless(0) == ["no"]
    assert set(scheduler.hopeless(4)) == {"no", "may"}


def test_what_waits_and_is_cached_is_not_hopeless():
    scheduler = Scheduler(capabilities(slots=1, chunk=64))
    scheduler.add(sequence("first", 40))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("first")
    scheduler.add(sequence("same", 40, deadline_ns=100))
    assert scheduler.hopeless(0) == []
    scheduler.add(Sequence("other", Priority.NORMAL, 100, list(range(10, 50))))
    assert scheduler.hopeless(0) == ["other"]


def test_forced_tokens_go_one_a_step_where_that_is_cheaper():
    """Two steps beside another: 2 * (101 + 1). A chunk: 100 + 2 * 120."""
    scheduler = Scheduler(capabilities(slots=3, costs=Costs((100, 101, 102), 100, 10)))
    scheduler.add(sequence("a"))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("b", 2))
    batch = scheduler.plan().batch
    assert [len(e.tokens) for e in batch] == [1, 1]
    assert [e.rows for e in batch] == [(0,), ()]


def test_forced_tokens_are_a_chunk_where_that_is_cheaper():
    scheduler = Scheduler(capabilities(slots=3, costs=Costs((100, 101, 102), 100, 10)))
    scheduler.add(sequence("a"))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(sequence("b", 8))
    assert sorted(len(e.tokens) for e in scheduler.plan().batch) == [1, 8]


def test_an_engine_of_mixed_batches_takes_chunks_whole():
    scheduler = Scheduler(capabilities(slots=2, costs=Costs((100, 101), 10_000, 10), mixed=True))
    scheduler.add(sequence("a", 8))
    assert [len(e.tokens) for e in scheduler.plan().batch] == [8]


def test_beside_a_critical_sequence_none_of_a_lower_priority_slows_its_steps():
    scheduler = Scheduler(capabilities(slots=4))
    for name, priority in (("low", Priority.LOW), ("high", Priority.HIGH)):
        scheduler.add(sequence(name, priority=priority))
    carry_out(scheduler, scheduler.plan().batch)
    for name in ("alarm", "other"):
        scheduler.add(sequence(name, priority=Priority.CRITICAL))
    for _ in range(3):
        batch = scheduler.plan().batch
        assert {scheduler.by_slot()[e.slot].id for e in batch} == {"alarm", "other"}
        carry_out(scheduler, batch)
    for name in ("alarm", "other"):
        scheduler.remove(name)
    batch = scheduler.plan().batch
    assert {scheduler.by_slot()[e.slot].id for e in batch} == {"low", "high"}
    assert all(extension.past_len for extension in batch), "they kept their slots and their caches"


def with_others_that_stand_still():
    """Two that write, one of three known tokens and one that reads."""
    costs = Costs((40, 41, 42, 43, 44, 45), 100, 10)
    scheduler = Scheduler(dataclasses.replace(capabilities(slots=6, chunk=64, costs=costs), max_seq_len=512))
    for name in ("writes", "too", "forced"):
        scheduler.add(sequence(name, 1, Priority.LOW))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("reads", Priority.LOW, 1000, list(range(50, 250))))
    carry_out(scheduler, scheduler.plan().batch)
    next(s for s in scheduler.by_slot().values() if s.id == "forced").tokens += [1, 2]
    return scheduler


def critical(name, prompt):
    return Sequence(name, Priority.CRITICAL, 1000, list(range(300, 300 + prompt)))


def ids_and_tokens(scheduler, batch):
    return {scheduler.by_slot()[e.slot].id: len(e.tokens) for e in batch}


@pytest.mark.parametrize("most", [None, 2, 1])
def test_others_take_a_token_each_beside_a_critical_chunk_but_read_nothing(most):
    scheduler = with_others_that_stand_still()
    scheduler.add(critical("alarm", 60))
    expected = [("alarm", 60), ("writes", 1), ("too", 1), ("forced", 1)][:most]
    assert ids_and_tokens(scheduler, scheduler.plan(most).batch) == dict(expected)


def test_none_steps_beside_what_is_forced_of_a_critical_answer():
    scheduler, alarm = with_others_that_stand_still(), critical("alarm", 8)
    scheduler.add(alarm)
    for _ in range(20):
        batch = scheduler.plan().batch
        assert ids_and_tokens(scheduler, batch) == {"alarm": 8}
        carry_out(scheduler, batch)
        alarm.tokens += [1] * 7


def test_others_add_little_where_a_critical_one_steps_beside_another_s_chunk():
    """Alone a step of three is too much for a chunk of 20 tokens; here it makes a step of one one of four."""
    scheduler = with_others_that_stand_still()
    scheduler.add(critical("alarm", 20))
    assert ids_and_tokens(scheduler, scheduler.plan().batch) == {"alarm": 20}
    scheduler = with_others_that_stand_still()
    scheduler.add(critical("first", 1))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(critical("alarm", 20))
    assert len(scheduler.plan().batch) == 5


@pytest.mark.parametrize(("token_costs", "looked_up"), [(1, True), (100, False)])
def test_no_draft_is_looked_up_where_none_could_pay(token_costs, looked_up):
    scheduler = Scheduler(capabilities(costs=Costs((100, 110), 100, token_costs)))
    repeating = sequence("a", 4)
    repeating.tokens[:] = [1, 2, 3, 1, 2, 3]
    repeating.drafter = Drafter(Chances())
    scheduler.add(repeating)
    scheduler.plan()
    assert bool(scheduler.draft(repeating)) == looked_up


@pytest.mark.parametrize(
    ("priority", "max_batch", "looked_up"),
    [(Priority.CRITICAL, None, True), (Priority.HIGH, 1, True), (Priority.HIGH, None, False)],
)
def test_a_draft_is_weighed_against_those_that_take_part_in_steps(priority, max_batch, looked_up):
    """Eight tokens cost less than a step of their own, but in a step of four the three others wait."""
    costs = Costs((100, 101, 102, 103), 50, 2)
    scheduler = Scheduler(capabilities(slots=4, costs=costs))
    for name in "abc":
        scheduler.add(sequence(name, 1, Priority.LOW))
    carry_out(scheduler, scheduler.plan().batch)
    repeating = Sequence("alarm", priority, 1000, [1, 2, 3, 1, 2, 3], drafter=Drafter(Chances()))
    scheduler.add(repeating)
    scheduler.plan(max_batch)
    assert bool(scheduler.draft(repeating)) == looked_up


def test_after_a_critical_request_chunks_of_others_are_short_for_a_while():
    # 40 tokens in 500; four steps of 100 are 30 tokens.
    scheduler = Scheduler(capabilities(chunk=40, costs=Costs((100, 110), 100, 10)))

    def next_chunk(name, priority):
        scheduler.add(sequence(name, 40, priority))
        batch = scheduler.plan().batch
        scheduler.remove(name)
        return batch, [len(extension.tokens) for extension in batch]

    assert next_chunk("a", Priority.LOW)[1] == [40]
    batch, tokens = next_chunk("b", Priority.CRITICAL)
    assert tokens == [40]
    assert next_chunk("c", Priority.LOW)[1] == [30]
    assert next_chunk("d", Priority.CRITICAL)[1] == [40], "its own are not cut"
    scheduler.took(batch, ALERT_NS)
    assert next_chunk("e", Priority.LOW)[1] == [40]


# As SmolLM2 in INT8 has on two cores, in microseconds: 37 ms for 16 tokens, 249 for 128.
SMOLLM2 = Costs((10_600, 13_400, 16_000, 18_300), 6_700, 1_890)


def beside_a_running_one(prompts, slower=1):
    """Tokens of the chunk in a step beside one that runs, `prompts` of 200 tokens being there to read."""
    scheduler = Scheduler(
        dataclasses.replace(capabilities(slots=4, chunk=128, costs=SMOLLM2), max_seq_len=512)
    )
    scheduler.add(sequence("a"))
    carry_out(scheduler, scheduler.plan().batch)
    for number in range(prompts):
        scheduler.add(
            Sequence(f"p{number}", Priority.NORMAL, 1000, list(range(10 * number + 9, 10 * number + 209)))
        )
    batch = scheduler.plan().batch
    for _ in range(50):
        chunks_ns = sum(SMOLLM2.chunk(len(e.tokens)) for e in batch if len(e.tokens) > 1)
        scheduler.took(batch, SMOLLM2.step(1) + slower * chunks_ns)
    return [len(e.tokens) for e in scheduler.plan().batch if len(e.tokens) > 1]


def test_chunks_that_took_longer_than_predicted_become_shorter():
    (before,), (after,) = beside_a_running_one(1), beside_a_running_one(1, slower=2)
    assert SMOLLM2.chunk(before) == pytest.approx(8 * SMOLLM2.step(1), rel=0.02)
    assert SMOLLM2.chunk(after) == pytest.approx(SMOLLM2.chunk(before) / 2, rel=0.05)


def test_the_more_prompts_wait_the_more_of_one_is_read_in_a_step():
    (one,), (eight,) = beside_a_running_one(1), beside_a_running_one(8)
    assert SMOLLM2.chunk(eight) >= 1.9 * SMOLLM2.chunk(one)


def test_what_is_read_ahead_goes_in_short_chunks():
    """Whoever comes waits for the one that has begun."""
    scheduler = Scheduler(capabilities(chunk=64))
    ahead = sequence("ahead", 60)
    ahead.lasting = True
    scheduler.add(ahead)
    (extension,) = scheduler.plan().batch
    assert len(extension.tokens) == LASTING_CHUNK
