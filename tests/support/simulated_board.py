"""A board in numbers: power by clock, batch and share of time; heat; a sensor that lags and errs."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside.power.controller import Controller, Decision, Plant, Sensed, Setting

TICK_S = 0.1
# Where steps can be seen: now and then one takes in a prompt.
LONG_STEP, LONG_STEP_EVERY = 8.0, 60


@dataclass
class SimulatedBoard:
    """`exponent`: how dynamic power goes with the clock, 1 to 3. Tests set `load` and `other_mw`.

    `step_s` 0: steps are too short to be seen one by one; else power is all or nothing, step by step.
    """

    frequencies_hz: tuple[int, ...] = tuple(306_000_000 + n * 102_000_000 for n in range(7))
    idle_mw: float = 5000.0
    dynamic_mw: float = 15_000.0
    exponent: float = 2.2
    batch_share: float = 0.4
    noise: float = 0.01
    lag_s: float = 0.25
    delay_ticks: int = 1
    ambient_c: float = 25.0
    kelvin_per_w: float = 2.0
    heat_s: float = 60.0
    max_batch: int = 4
    seed: int = 1
    load: float = 1.0
    other_mw: float = 0.0
    step_s: float = 0.0
    celsius: float = field(init=False)
    power_mw: float = field(init=False)
    busy: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.power_mw = self._measured = self.idle_mw
        self.celsius = self.ambient_c
        self._pending: deque[Decision] = deque()
        self._since_step_s, self._steps = 0.0, 0

    @property
    def plant(self) -> Plant:
        return Plant(self.frequencies_hz, self.max_batch, trip_c=99.0)

    def unpaced_mw(self, index: int, batch: int) -> float:
        """What full load draws at a clock and batch."""
        top = self.frequencies_hz[-1] if self.frequencies_hz else 1
        clock = self.frequencies_hz[index] / top if self.frequencies_hz else 1.0
        share = 1 - self.batch_share + self.batch_share * batch / self.max_batch
        return self.idle_mw + self.dynamic_mw * clock**self.exponent * share

    def advance(self, decision: Decision) -> None:
        """One tick under the decision of a few ticks ago."""
        self._pending.append(decision)
        if len(self._pending) <= self.delay_ticks:
            return
        acting = self._pending.popleft()
        index = self.frequencies_hz.index(acting.gpu_max_hz) if self.frequencies_hz else 0
        self.busy = (self._steps_in(acting.duty) if self.step_s else acting.duty) * self.load
        ours = (self.unpaced_mw(index, acting.max_batch) - self.idle_mw) * self.busy
        self.power_mw = self.idle_mw + ours + self.other_mw
        self._measured += (self.power_mw - self._measured) * -math.expm1(-TICK_S / self.lag_s)
        target = self.ambient_c + self.power_mw / 1000 * self.kelvin_per_w
        self.celsius += (target - self.celsius) * TICK_S / self.heat_s

    def _steps_in(self, duty: float) -> float:
        """The part of a tick in which a step runs; steps err in length, as real ones do."""
        busy, slices = 0, 20
        for _ in range(slices):
            long = LONG_STEP if self._steps % LONG_STEP_EVERY == 0 else 1.0
            busy += self._since_step_s < long * self.step_s
            self._since_step_s += TICK_S / slices
            if self._since_step_s >= long * self.step_s / duty:
                self._since_step_s = self._random.uniform(-0.2, 0.2) * self.step_s
                self._steps += 1
        return busy / slices

    def sense(self, now_s: float, fault: bool = False) -> Sensed:
        measured = self._measured * (1 + self._random.gauss(0, self.noise))
        heat = self.celsius + self._random.gauss(0, 0.2)
        power_mw, demand = None if fault else measured, 1.0 if self.load else 0.0
        return Sensed(now_s, power_mw, heat, demand, busy=self.busy)


@dataclass
class Run:
    """A controller on a board, and what happened."""

    board: SimulatedBoard
    setting: Setting
    controller: Controller = field(init=False)
    power_mw: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.controller = Controller(self.board.plant)

    def go(self, seconds: float, fault: Callable[[float], bool] = lambda _: False) -> Run:
        """Let time pass."""
        for _ in range(round(seconds / TICK_S)):
            now_s = len(self.power_mw) * TICK_S
            decision = self.controller.step(self.board.sense(now_s, fault(now_s)), self.setting)
            self.board.advance(decision)
            self.power_mw.append(self.board.power_mw)
            self.decisions.append(decision)
        return self

    def last(self, seconds: float) -> list[float]:
        """True power of the last seconds."""
        return self.power_mw[-round(seconds / TICK_S) :]

    def mean(self, seconds: float) -> float:
        window = self.last(seconds)
        return sum(window) / len(window)

    def longest_over_s(self, factor: float, begin_s: float = 0.0) -> float:
        """The longest time without a break over the limit by `factor`."""
        longest = current = 0
        for power in self.power_mw[round(begin_s / TICK_S) :]:
            current = current + 1 if power > factor * self.setting.limit_mw else 0
            longest = max(longest, current)
        return longest * TICK_S

    def settled_after_s(self, begin_s: float, within: float) -> float:
        """How long after `begin_s` the power of each second stayed within a share of the limit for good."""
        begin = round(begin_s / TICK_S)
        second = round(1 / TICK_S)
        limit = self.setting.limit_mw
        last_bad = begin
        for at in range(begin, len(self.power_mw) - second):
            if abs(sum(self.power_mw[at : at + second]) / second - limit) > within * limit:
                last_bad = at + 1
        return (last_bad - begin) * TICK_S
