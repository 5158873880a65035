import pytest
from tests.support.simulated_board import Run, SimulatedBoard

from lineside.power.controller import MIN_DUTY, Controller, Plant, Sensed, Setting
from lineside.power.filters import Ripple
from lineside.power.limit import CONSERVATIVE_DUTY, Limit, PublishedLimit


def step_in_load(board, limit_mw, seconds=30.0):
    board.load = 0.0
    run = Run(board, Setting(limit_mw)).go(3)
    board.load = 1.0
    return run.go(seconds)


def test_without_a_limit_nothing_is_held_back():
    decision = Run(SimulatedBoard(), Setting()).go(5).decisions[-1]
    assert (decision.state, decision.duty, decision.max_batch, decision.refusal) == ("unlimited", 1.0, 4, "")
    assert decision.gpu_max_hz == SimulatedBoard().frequencies_hz[-1]


@pytest.mark.parametrize("limit_mw", [19_000, 15_000, 12_000, 9000, 7000])
def test_a_reachable_limit_is_held_after_a_step_in_load(limit_mw):
    run = step_in_load(SimulatedBoard(), limit_mw)
    assert run.mean(10) == pytest.approx(limit_mw, rel=0.03)
    assert run.longest_over_s(1.05, 3.0) <= 2.0
    assert run.settled_after_s(3.0, 0.05) < 10.0


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_steps_that_can_be_seen_one_by_one_are_held_at_their_mean(share):
    board = SimulatedBoard((), idle_mw=0.0, step_s=0.05, noise=0.05, lag_s=0.01, max_batch=1)
    run = step_in_load(board, share * board.dynamic_mw, 40)
    assert run.mean(25) == pytest.approx(share * board.dynamic_mw, rel=0.05)


def test_a_limit_that_is_not_reached_costs_nothing():
    decision = step_in_load(SimulatedBoard(), 25_000).decisions[-1]
    assert (decision.state, decision.duty, decision.max_batch) == ("ok", 1.0, 4)


def test_a_lower_clock_takes_over_from_long_pacing():
    decision = step_in_load(SimulatedBoard(), 9000).decisions[-1]
    assert decision.gpu_max_hz < SimulatedBoard().frequencies_hz[-1]
    assert decision.duty > 0.3


def test_a_lower_limit_at_run_time_is_held_and_a_higher_one_is_used():
    run = step_in_load(SimulatedBoard(), 16_000)
    run.setting = Setting(9000)
    assert run.go(20).mean(8) == pytest.approx(9000, rel=0.03)
    run.setting = Setting(16_000)
    assert run.go(40).mean(8) == pytest.approx(16_000, rel=0.03)
    run.setting = Setting()
    assert run.go(1).decisions[-1].duty == 1.0


def test_a_limit_below_what_the_board_draws_is_told_with_the_floor():
    run = step_in_load(SimulatedBoard(), 3000)
    decision = run.decisions[-1]
    assert decision.state == "cap_unreachable"
    assert decision.duty == MIN_DUTY
    assert (decision.max_batch, decision.gpu_max_hz) == (1, SimulatedBoard().frequencies_hz[0])
    assert decision.floor_mw == pytest.approx(run.mean(5), rel=0.05)


def test_a_sensor_that_fails_leads_to_the_careful_state_and_back():
    run = step_in_load(SimulatedBoard(), 12_000)
    begin = len(run.decisions)
    run.go(5, fault=lambda _: True)
    assert run.decisions[begin].state == "sensor_stale"
    assert run.decisions[begin].duty <= CONSERVATIVE_DUTY
    assert run.decisions[begin].gpu_max_hz == SimulatedBoard().frequencies_hz[0]
    assert max(run.power_mw[begin + 2 :]) < 12_000
    assert run.go(40).mean(8) == pytest.approx(12_000, rel=0.03)


def test_no_sensor_is_told_apart_from_a_stale_one():
    decision = Controller(Plant()).step(Sensed(0.0, None, has_power_sensor=False), Setting(5000))
    assert decision.state == "no_sensor"
    assert decision.duty == CONSERVATIVE_DUTY


def test_heat_derates_before_the_board_does_and_then_refuses():
    controller = Controller(Plant(trip_c=99.0))
    decisions = {}
    for celsius in (80.0, 90.0, 96.0, 93.0, 91.0):
        controller_decision = None
        for tick in range(200):
            now_s = tick * 0.1 + len(decisions) * 20
            controller_decision = controller.step(Sensed(now_s, 5000, celsius), Setting())
        decisions[celsius] = controller_decision
    assert decisions[80.0].state == "unlimited"
    assert decisions[90.0].state == "derating"
    assert 0.4 < decisions[90.0].duty < 0.6
    assert decisions[96.0].state == "too_hot"
    assert decisions[96.0].refusal == "96 C: too hot to take more"
    assert decisions[93.0].refusal, "it takes again only when it is clearly cooler"
    assert decisions[91.0].refusal == ""


def test_a_hot_board_settles_without_swinging():
    board = SimulatedBoard(kelvin_per_w=5.0, heat_s=40.0)
    run = Run(board, Setting()).go(600)
    assert 85.0 < board.celsius < 95.0
    last = run.last(60)
    assert max(last) - min(last) < 0.1 * max(last)


def test_an_over_current_event_lowers_the_clock_and_keeps_it_low():
    board = SimulatedBoard()
    controller = Controller(board.plant)
    hz = [
        controller.step(
            Sensed(tick * 0.1, 8000, 50.0, over_current_events=int(tick >= 20)), Setting(20_000)
        ).gpu_max_hz
        for tick in range(100)
    ]
    assert hz[19] == board.frequencies_hz[-1]
    assert set(hz[20:]) == {board.frequencies_hz[-2]}


def test_without_demand_pacing_is_not_wound_up():
    run = step_in_load(SimulatedBoard(frequencies_hz=()), 10_000)
    duty = run.decisions[-1].duty
    run.board.load = 0.0
    assert run.go(20).decisions[-1].duty == pytest.approx(duty, rel=0.15)


def test_a_published_limit_that_is_not_renewed_becomes_careful():
    now = [0]
    published = PublishedLimit(lambda: now[0])
    assert published.read().duty == 1.0
    published.publish(Limit(duty=0.9, valid_until_ns=10))
    assert published.read().duty == 0.9
    now[0] = 11
    assert published.read().duty == CONSERVATIVE_DUTY


def test_ripple_is_what_neighbours_differ_by_and_no_step_to_another_level():
    ripple = Ripple()
    for sample in [100.0] * 15 + [200.0] * 15:
        ripple.add(sample)
    assert ripple.deviation == 0.0
    for sample in [100.0, 300.0] * 15:
        ripple.add(sample)
    assert ripple.deviation > 100.0
