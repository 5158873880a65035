import random

import pytest
from tests.support.simulated_board import TICK_S

from lineside.power.controller import Controller, Plant, Sensed, Setting
from lineside.power.gpu_share import HOLD_S, GpuShare


def test_what_else_is_drawn_is_taken_off():
    share = GpuShare(100_000, 400_000)
    assert share.step(0.0, 300_000, 250_000, 200_000) == 247_000
    assert share.step(0.1, 300_000, 250_000, 200_000) == 247_000


@pytest.mark.parametrize(("limit_mw", "chosen_mw"), [(120_000, 100_000), (900_000, 400_000)])
def test_it_stays_within_the_cards_bounds(limit_mw, chosen_mw):
    assert GpuShare(100_000, 400_000).step(0.0, limit_mw, 250_000, 200_000) == chosen_mw


def test_without_a_limit_there_is_none():
    share = GpuShare(100_000, 400_000)
    share.step(0.0, 300_000, 250_000, 200_000)
    assert share.step(0.1, None, 250_000, 200_000) is None


@pytest.mark.parametrize(("total_mw", "gpu_mw"), [(None, 200_000), (250_000, None)])
def test_unknown_power_means_the_least_at_once(total_mw, gpu_mw):
    share = GpuShare(100_000, 400_000)
    share.step(0.0, 300_000, 250_000, 200_000)
    assert share.step(0.1, 300_000, total_mw, gpu_mw) == 100_000


def test_a_limit_stays_for_a_while_and_small_changes_are_none():
    share = GpuShare(100_000, 400_000)
    assert share.step(0.0, 300_000, 250_000, 200_000) == 247_000
    assert share.step(0.1, 250_000, 250_000, 200_000) == 247_000
    assert share.step(HOLD_S, 250_000, 250_000, 200_000) == 197_000
    assert share.step(3 * HOLD_S, 252_000, 250_000, 200_000) == 197_000


class Pc:
    """A processor and a GPU whose driver holds it to a limit within half a second."""

    def __init__(self, rest_mw, gpu_mw):
        self.rest_mw, self.full_mw, self.limit_mw = rest_mw, gpu_mw, 1e9
        self.duty, self.held_mw, self.random = 1.0, gpu_mw, random.Random(1)

    def advance(self):
        busy_mw = min(self.full_mw, self.limit_mw)
        self.held_mw += (busy_mw - self.held_mw) * TICK_S / 0.5
        self.gpu_mw = 50_000 + max(self.held_mw - 50_000, 0) * self.duty
        return self.rest_mw * (1 + self.random.gauss(0, 0.02)) + self.gpu_mw


@pytest.mark.parametrize("limit_mw", [500_000, 400_000, 300_000, 220_000])
def test_with_the_controller_the_limit_is_held_and_pacing_is_left_with_little(limit_mw):
    pc, share, controller = Pc(80_000, 500_000), GpuShare(200_000, 700_000), Controller(Plant(max_batch=4))
    totals, chosen, decisions = [], [], []
    for tick in range(600):
        total_mw = pc.advance()
        decision = controller.step(Sensed(tick * TICK_S, total_mw, busy=pc.duty), Setting(limit_mw))
        set_mw = share.step(tick * TICK_S, decision.limit_mw, total_mw, pc.gpu_mw)
        pc.duty, pc.limit_mw = decision.duty, set_mw
        totals.append(total_mw)
        chosen.append(set_mw)
        decisions.append(decision)
    last = totals[-200:]
    assert sum(last) / len(last) == pytest.approx(limit_mw, rel=0.03)
    assert len(set(chosen[-200:])) == 1, "no swinging"
    if limit_mw >= 300_000:
        assert decisions[-1].duty > 0.95
        assert decisions[-1].max_batch == 4
