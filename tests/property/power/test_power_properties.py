"""The governor's promises on boards that nobody chose."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.simulated_board import Run, SimulatedBoard

from lineside.power.controller import MIN_DUTY, Controller, Plant, Sensed, Setting

TABLES = st.one_of(
    st.just(()),
    st.integers(2, 10).map(lambda n: tuple(306_000_000 + k * 102_000_000 for k in range(n))),
    st.just((510_000_000, 1_050_000_000, 1_575_000_000)),
)
BOARDS = st.builds(
    SimulatedBoard,
    frequencies_hz=TABLES,
    idle_mw=st.floats(2000, 10_000),
    dynamic_mw=st.floats(6000, 40_000),
    exponent=st.floats(1, 3),
    batch_share=st.floats(0, 0.6),
    noise=st.floats(0, 0.015),
    lag_s=st.floats(0.05, 0.25),
    delay_ticks=st.integers(0, 1),
    kelvin_per_w=st.just(0.5),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(board=BOARDS, share=st.floats(0.25, 0.95))
def test_a_reachable_limit_is_held_settles_and_does_not_swing(board, share):
    limit_mw = board.idle_mw + share * board.dynamic_mw
    board.load = 0.0
    run = Run(board, Setting(limit_mw)).go(3)
    board.load = 1.0
    run.go(40)
    assert run.mean(10) == pytest.approx(limit_mw, rel=0.03)
    assert run.longest_over_s(1.05, 3.0) <= 2.05
    assert run.settled_after_s(3.0, 0.05) <= 10.0
    clocks = [decision.gpu_max_hz for decision in run.decisions[-200:]]
    assert sum(a != b for a, b in pairwise(clocks)) <= 1


SENSED = st.tuples(
    st.floats(0.0, 2.0),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.one_of(st.none(), st.floats(-40, 150)),
    st.floats(0, 1),
    st.integers(0, 5),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(samples=st.lists(SENSED, min_size=1, max_size=60), limit_mw=st.floats(0, 1e5))
def test_whatever_the_sensors_say_the_decision_is_within_the_boards_table(samples, limit_mw):
    plant = Plant((1, 2, 3), 4, 99.0)
    controller, now_s = Controller(plant), 0.0
    for elapsed_s, power, heat, demand, events in samples:
        now_s += elapsed_s
        decision = controller.step(Sensed(now_s, power, heat, demand, events), Setting(limit_mw))
        assert MIN_DUTY <= decision.duty <= 1.0
        assert 1 <= decision.max_batch <= 4
        assert decision.gpu_max_hz in plant.frequencies_hz
