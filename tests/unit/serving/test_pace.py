import dataclasses

import pytest

from lineside.engine.base import Capabilities, Costs, Extension
from lineside.serving.pace import Pace

# As SmolLM2 in INT8 has on two cores, in microseconds: 37 ms for 16 tokens, 249 for 128.
COSTS = Costs((10_600, 13_400, 16_000, 18_300), 6_700, 1_890)
CAPABILITIES = Capabilities("t", "t", 4, 512, 128, 50, False, 0, COSTS)
CHUNK = Extension(0, 0, (1,) * 32, (31,))
SINGLE = Extension(1, 5, (1,), (0,))


def test_nobody_waits_for_a_chunk_that_runs_alone():
    assert Pace(CAPABILITIES).budget(0, 4) == 128


def test_a_chunk_holds_others_up_for_eight_steps_of_theirs():
    tokens = Pace(CAPABILITIES).budget(2, 1)
    assert COSTS.chunk(tokens) == pytest.approx(8 * COSTS.step(2), rel=0.01)


def test_the_more_prompts_there_are_for_each_that_waits_the_longer_the_chunks():
    def chunk_ns(singles, unread):
        return COSTS.chunk(Pace(CAPABILITIES).budget(singles, unread))

    assert chunk_ns(2, 1) == chunk_ns(2, 2)
    for singles, unread in ((1, 2), (2, 4), (2, 3)):
        longer = unread / singles
        assert chunk_ns(singles, unread) == pytest.approx(longer * 8 * COSTS.step(singles), rel=0.02)
    assert chunk_ns(4, 5) > chunk_ns(4, 4), "also where slots are many"


@pytest.mark.parametrize("unread", [8, 16, 64, 1000])
def test_however_many_prompts_wait_a_step_takes_no_more_than_the_engine_s_longest_chunk(unread):
    assert Pace(CAPABILITIES).budget(1, unread) == 128


@pytest.mark.parametrize("singles", [0, 1, 4])
def test_where_something_critical_may_come_a_chunk_takes_four_steps(singles):
    tokens = Pace(CAPABILITIES).budget(singles, 16, alert=True)
    assert COSTS.chunk(tokens) == pytest.approx(4 * COSTS.step(1), rel=0.03)


def test_where_a_chunk_costs_the_same_whatever_its_length_it_is_never_cut():
    static = dataclasses.replace(CAPABILITIES, costs=Costs((2_000,) * 4, 30_000, 1))
    assert Pace(static).budget(1, 1) == 128


def test_no_chunk_is_cut_so_short_that_its_fixed_cost_is_most_of_it():
    quick = dataclasses.replace(CAPABILITIES, costs=Costs((500,) * 4, 6_700, 1_890))
    tokens = Pace(quick).budget(1, 1)
    assert COSTS.chunk_fixed_ns / COSTS.chunk(tokens) == pytest.approx(0.25, rel=0.1)


def test_chunks_that_turn_out_slower_become_shorter_and_steps_that_do_make_them_longer():
    pace = Pace(CAPABILITIES)
    before = pace.budget(1, 1)
    for _ in range(50):
        pace.learn([CHUNK, SINGLE], COSTS.step(1) + 2 * COSTS.chunk(32))
    slower = pace.budget(1, 1)
    assert COSTS.chunk(slower) == pytest.approx(COSTS.chunk(before) / 2, rel=0.03)
    for _ in range(50):
        pace.learn([SINGLE], 2 * COSTS.step(1))
    assert pace.budget(1, 1) == pytest.approx(before, abs=1)


def test_one_step_that_was_held_up_changes_little():
    pace = Pace(CAPABILITIES)
    pace.learn([SINGLE], 1000 * COSTS.step(1))
    assert pace.step <= 1.4


def test_the_least_time_is_no_longer_than_measured_engines_take():
    pace = Pace(CAPABILITIES)
    assert pace.least_ns(128, 0) == pytest.approx(0.9 * COSTS.chunk(128), rel=0.001)
    assert pace.least_ns(1, 1) <= COSTS.step(1)
    for _ in range(50):
        pace.learn([SINGLE], COSTS.step(1) // 2)
    assert pace.least_ns(128, 0) == pytest.approx(0.45 * COSTS.chunk(128), rel=0.02)
    for _ in range(100):
        pace.learn([SINGLE], 3 * COSTS.step(1))
    assert pace.least_ns(128, 0) == pytest.approx(0.9 * COSTS.chunk(128), rel=0.001), "never longer"


@pytest.mark.parametrize(("chunk", "every"), [(128, 1), (32, 2), (9, 6)])
def test_a_critical_prompt_is_slowed_by_an_eighth_at_most(chunk, every):
    """16 ms for a step of three others; chunks of 128, 32 and 9 tokens take 249, 67 and 24."""
    pace = Pace(CAPABILITIES)
    let_in = [pace.lets_in([chunk], 0, 3) for _ in range(60)]
    assert let_in == [number % every == every - 1 for number in range(60)]
    assert sum(let_in) * COSTS.step(3) <= 60 * COSTS.chunk(chunk) / 8


def test_beside_a_step_of_a_critical_one_others_cost_what_they_add_to_it():
    assert not Pace(CAPABILITIES).lets_in([32], 0, 3)
    assert Pace(CAPABILITIES).lets_in([32], 1, 3)


def test_what_others_may_cost_a_critical_prompt_follows_from_measured_times():
    pace = Pace(CAPABILITIES)
    for _ in range(50):
        pace.learn([CHUNK], 2 * COSTS.chunk(32))
    assert pace.lets_in([32], 0, 3), "a chunk takes twice as long, and allows more"
