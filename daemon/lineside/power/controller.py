"""The power governor's decisions. Pure: time and measurements in, a decision out; no clock, no files.

Two loops share the work. Pacing (the engine's share of time) acts at every sample and holds the limit: a cut
at once when power is well over it, and a slow PI loop in proportion. The GPU's clock and then the batch
follow within seconds: they take over what pacing would have to do for long, because a lower clock does the
same work for less energy. A lower clock is chosen only where pacing would still be needed there, so that
going down can never be the reason to go up again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from lineside.power.filters import Average, Ripple
from lineside.power.heat import HeatPolicy
from lineside.power.limit import CONSERVATIVE_DUTY

State = Literal[
    "unlimited", "ok", "limiting", "derating", "too_hot", "cap_unreachable", "sensor_stale", "no_sensor"
]

MIN_DUTY = 0.05
FAST_S, SLOW_S = 0.25, 0.8
# Well over: cut at once, then wait for the cut to show.
CUT_OVER, CUT_TO, CUT_HOLD_S = 1.04, 0.985, 0.6
# What steps and rests make of power, sample by sample, is not being over.
CUT_OVER_RIPPLE = 1.0
# For so long a step that was longer than others is believed to show in what is measured.
BUSY_FADES_S = 0.6
# Share of the power that a first cut takes not to be the engine's.
UNKNOWN_IDLE = 0.3
GAIN_P, GAIN_I, DEADBAND = 0.4, 0.7, 0.008
MAX_ERROR, MAX_UNDER = 0.3, 0.6
MIN_SHARE, GUESSED_SHARE = 0.15, 0.4
LEARN_FROM, BELIEF = 0.1, 0.9
# The engine's demand from which power below the limit means that pacing holds it back.
BUSY = 0.9
UNDER, UNREACHABLE = 0.97, 1.05
QUIET_S, CLIMB_S, UNREACHABLE_S = 0.7, 1.5, 3.0
OVER_CURRENT_HOLD_S = 10.0
# A clock's part of dynamic power goes with its power of 1 (voltage fixed) to 3 (voltage in proportion).
STEEPEST, TYPICAL, LOWER_MARGIN = 3.0, 1.8, 0.95
# A higher clock gets this long to show that it was right.
PROVE_S = 5.0
BATCH_DOWN_DUTY, BATCH_UP_DUTY, BATCH_PATIENCE_S = 0.25, 0.6, 2.0


@dataclass(frozen=True, slots=True)
class Plant:
    """What can be acted on: GPU clocks, ascending (empty: none), and how many sequences a step may hold."""

    frequencies_hz: tuple[int, ...] = ()
    max_batch: int = 1
    trip_c: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What the operator asks. `limit_mw` 0: no limit."""

    limit_mw: float = 0.0
    temperature_max_c: float = 85.0


@dataclass(frozen=True, slots=True)
class Sensed:
    """One sample. None: not to be acted on. `demand`: share of the last interval in which there was work.

    `busy`: share of it in which the engine ran a step; None: not known.
    """

    now_s: float
    power_mw: float | None
    temperature_c: float | None = None
    demand: float = 1.0
    over_current_events: int = 0
    has_power_sensor: bool = True
    busy: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do until the next sample. `floor_mw`: what is drawn where the limit cannot be reached.

    `limit_mw`: what the machine may draw now, heat considered; None: there is no limit.
    """

    duty: float
    max_batch: int
    gpu_max_hz: int | None
    refusal: str
    state: State
    floor_mw: float | None = None
    limit_mw: float | None = None


@dataclass(slots=True)
class Controller:
    """Decides sample by sample; keeps what it needs to remember."""

    plant: Plant
    duty: float = field(default=1.0, init=False)
    batch: int = field(init=False)
    step_index: int = field(init=False)
    _limit_mw: float | None = field(default=None, init=False)
    _heat: HeatPolicy = field(default_factory=HeatPolicy, init=False)
    _fast: Average = field(default_factory=lambda: Average(FAST_S), init=False)
    _slow: Average = field(default_factory=lambda: Average(SLOW_S), init=False)
    _ripple: Ripple = field(default_factory=Ripple, init=False)
    _busy: Average = field(default_factory=lambda: Average(FAST_S), init=False)
    _busiest: float = field(default=0.0, init=False)
    _demand: Average = field(default_factory=lambda: Average(1.0), init=False)
    _idle_mw: float | None = field(default=None, init=False)
    _last_s: float | None = field(default=None, init=False)
    _last_error: float = field(default=0.0, init=False)
    _hold_until_s: float = field(default=-math.inf, init=False)
    _lower_after_s: float = field(default=-math.inf, init=False)
    _climb_after_s: float = field(default=-math.inf, init=False)
    _quiet_since_s: float = field(default=math.inf, init=False)
    _under_since_s: float = field(default=math.inf, init=False)
    _floor_since_s: float = field(default=math.inf, init=False)
    _guessed_idle_mw: float | None = field(default=None, init=False)
    _before_cut: tuple[float, float] | None = field(default=None, init=False)
    _over_current: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.batch = self.plant.max_batch
        self.step_index = len(self.plant.frequencies_hz) - 1

    def step(self, sensed: Sensed, setting: Setting) -> Decision:
        """Take a sample in, decide."""
        elapsed_s = 0.0 if self._last_s is None else max(sensed.now_s - self._last_s, 0.0)
        self._last_s = sensed.now_s
        heat = self._heat.step(sensed.temperature_c, setting.temperature_max_c, self.plant.trip_c, elapsed_s)
        self._limit_mw = setting.limit_mw * heat.factor or None
        if not setting.limit_mw:
            self._release()
            state: State = "too_hot" if heat.refusal else "derating" if heat.factor < 1 else "unlimited"
            return self._decide(heat.factor, heat.refusal, state)
        if sensed.power_mw is None:
            self._be_careful()
            stale: State = "sensor_stale" if sensed.has_power_sensor else "no_sensor"
            return self._decide(heat.factor, heat.refusal, stale)
        limit_mw = setting.limit_mw * heat.factor
        self._measure(sensed, elapsed_s)
        self._react_to_over_current(sensed)
        self._pace(sensed.now_s, limit_mw, elapsed_s)
        self._trade(sensed.now_s, limit_mw)
        return self._limited(sensed.now_s, limit_mw, heat.factor, heat.refusal)

    @property
    def power_mw(self) -> float | None:
        """Power, smoothed over about a second."""
        return self._slow.value

    def _limited(self, now_s: float, limit_mw: float, factor: float, refusal: str) -> Decision:
        power = self._slow.value or 0.0
        at_floor = self.duty <= MIN_DUTY and self.batch == 1 and self.step_index <= 0
        self._floor_since_s = _since(self._floor_since_s, now_s, at_floor and power > UNREACHABLE * limit_mw)
        if now_s - self._floor_since_s >= UNREACHABLE_S:
            return self._decide(factor, refusal, "cap_unreachable", power)
        acting = self.duty < 1 or self.batch < self.plant.max_batch or self._below_top
        state: State = "too_hot" if refusal else "derating" if factor < 1 else "limiting" if acting else "ok"
        return self._decide(factor, refusal, state)

    def _decide(self, factor: float, refusal: str, state: State, floor_mw: float | None = None) -> Decision:
        frequencies = self.plant.frequencies_hz
        hz = frequencies[self.step_index] if frequencies else None
        duty = max(min(self.duty, factor), MIN_DUTY)
        return Decision(duty, self.batch, hz, refusal, state, floor_mw, self._limit_mw)

    @property
    def _below_top(self) -> bool:
        return self.step_index < len(self.plant.frequencies_hz) - 1

    def _release(self) -> None:
        self.duty, self.batch = 1.0, self.plant.max_batch
        self.step_index = len(self.plant.frequencies_hz) - 1
        self._slow.reset()
        self._fast.reset()

    def _be_careful(self) -> None:
        """Nobody knows what is drawn: the lowest clock, and a share of time that is safe on any board."""
        self.duty = min(self.duty, CONSERVATIVE_DUTY)
        self.step_index = min(self.step_index, 0)
        self._slow.reset()
        self._fast.reset()

    def _measure(self, sensed: Sensed, elapsed_s: float) -> None:
        assert sensed.power_mw is not None
        self._ripple.add(sensed.power_mw)
        self._fast.add(sensed.power_mw, elapsed_s)
        if sensed.busy is not None:
            busy = self._busy.add(sensed.busy, elapsed_s)
            self._busiest = max(busy, self._busiest * math.exp(-elapsed_s / BUSY_FADES_S))
        slow = self._slow.add(sensed.power_mw, elapsed_s)
        if self._demand.add(sensed.demand, elapsed_s) < 1 - BUSY:
            self._idle_mw = slow if self._idle_mw is None else min(self._idle_mw, slow)

    def _react_to_over_current(self, sensed: Sensed) -> None:
        """The board has just throttled because of its supply: one clock lower, no climbing for a while."""
        known, self._over_current = self._over_current, sensed.over_current_events
        if known is not None and sensed.over_current_events > known:
            self.step_index = max(self.step_index - 1, min(self.step_index, 0))
            self._climb_after_s = sensed.now_s + OVER_CURRENT_HOLD_S

    def _pace(self, now_s: float, limit_mw: float, elapsed_s: float) -> None:
        fast, slow = self._fast.value or 0.0, self._slow.value or 0.0
        if now_s < self._hold_until_s:
            return
        self._learn(fast)
        over_mw = max(CUT_OVER * limit_mw, limit_mw + CUT_OVER_RIPPLE * self._ripple.deviation)
        if fast - self._of_long_steps(fast) > over_mw and self.duty > MIN_DUTY:
            self._cut(now_s, fast, limit_mw)
            return
        error = max(min((limit_mw - slow) / limit_mw, MAX_UNDER), -MAX_ERROR)
        if abs(error) < DEADBAND or (error > 0 and (self._demand.value or 0.0) < BUSY):
            self._last_error = error
            return
        change = GAIN_P * (error - self._last_error) + GAIN_I * error * elapsed_s
        change /= self._our_share(slow)
        self._last_error = error
        # In proportion: a step of a tenth means the same at any share of time.
        self.duty = min(max(self.duty * math.exp(change), MIN_DUTY), 1.0)

    def _of_long_steps(self, power_mw: float) -> float:
        """What of the power is a matter of time: a step that is longer than others earns a longer rest."""
        more = 1.0 - self.duty / self._busiest if self._busiest > self.duty else 0.0
        return more * power_mw * self._our_share(power_mw)

    def _cut(self, now_s: float, power_mw: float, limit_mw: float) -> None:
        """Straight to where the limit should be, by what is known of the engine's part of the power."""
        ours = power_mw * self._our_share(power_mw)
        allowed = max(CUT_TO * limit_mw - power_mw + ours, 0.0)
        before = (self.duty, power_mw)
        self.duty = max(self.duty * min(allowed / ours, 1.0), MIN_DUTY)
        self._settle(now_s, limit_mw)
        self._before_cut = before

    def _our_share(self, power_mw: float) -> float:
        """Which part of the power goes with the engine's share of time: measured idle, else guessed."""
        idle_mw = self._guessed_idle_mw if self._idle_mw is None else self._idle_mw
        if idle_mw is None:
            return 1.0 - UNKNOWN_IDLE
        least = GUESSED_SHARE if self._idle_mw is None else MIN_SHARE
        return max((power_mw - idle_mw) / max(power_mw, 1.0), least)

    def _learn(self, power_mw: float) -> None:
        """A cut has shown: the line through both points tells what is drawn without the engine.

        The cut has not shown wholly yet, which makes the line too flat: only a part of it is believed.
        """
        if self._before_cut is None:
            return
        (duty, before_mw), self._before_cut = self._before_cut, None
        if duty - self.duty > LEARN_FROM * duty:
            per_duty = max(before_mw - power_mw, 0.0) / (duty - self.duty)
            self._guessed_idle_mw = BELIEF * max(power_mw - per_duty * self.duty, 0.0)

    def _settle(self, now_s: float, expected_mw: float) -> None:
        """After a jump: wait until it shows, and forget what was before."""
        self._hold_until_s = now_s + CUT_HOLD_S
        self._fast.reset(expected_mw)
        self._slow.reset(expected_mw)
        self._last_error = 0.0
        self._before_cut = None
        self._quiet_since_s = self._under_since_s = math.inf

    def _trade(self, now_s: float, limit_mw: float) -> None:
        """Let clock and batch take over from long pacing, and give back what is no longer needed."""
        slow = self._slow.value or 0.0
        held = now_s < self._hold_until_s
        self._quiet_since_s = _since(self._quiet_since_s, now_s, not held and slow < CUT_OVER * limit_mw)
        under = not held and slow < UNDER * limit_mw and (self._demand.value or 0.0) >= BUSY
        self._under_since_s = _since(self._under_since_s, now_s, under)
        exhausted = self.duty <= MIN_DUTY and not held
        quiet = now_s - self._quiet_since_s >= QUIET_S and now_s >= self._lower_after_s
        if (exhausted or quiet) and self._lower(now_s, slow):
            return
        if now_s - self._under_since_s >= CLIMB_S and now_s >= self._climb_after_s:
            self._raise(now_s, slow, limit_mw)

    def _lower(self, now_s: float, power_mw: float) -> bool:
        frequencies = self.plant.frequencies_hz
        index = self.step_index
        duty = self.duty / LOWER_MARGIN
        while index > 0 and duty < (frequencies[index - 1] / frequencies[self.step_index]) ** STEEPEST:
            index -= 1
        if index < self.step_index:
            self._set_clock(now_s, index, power_mw)
            return True
        patient = now_s - self._quiet_since_s >= BATCH_PATIENCE_S or self.duty <= MIN_DUTY
        if patient and self.step_index <= 0 and self.duty < BATCH_DOWN_DUTY and self.batch > 1:
            self.batch //= 2
            self._settle(now_s, power_mw)
            return True
        return False

    def _raise(self, now_s: float, power_mw: float, limit_mw: float) -> None:
        if self.batch < self.plant.max_batch:
            if self.duty >= BATCH_UP_DUTY:
                self.batch = min(self.batch * 2, self.plant.max_batch)
                self._settle(now_s, power_mw)
            return
        if self.duty < 1 or not self._below_top:
            return
        index = self.step_index + 1
        frequencies = self.plant.frequencies_hz
        while index + 1 < len(frequencies) and self._steep(power_mw, index + 1) <= limit_mw:
            index += 1
        self._set_clock(now_s, index, power_mw)
        self._lower_after_s = now_s + PROVE_S

    def _steep(self, power_mw: float, index: int) -> float:
        """Power at another clock, if all of it went with the clock's highest power."""
        frequencies = self.plant.frequencies_hz
        return power_mw * math.pow(frequencies[index] / frequencies[self.step_index], STEEPEST)

    def _set_clock(self, now_s: float, index: int, power_mw: float) -> None:
        """Change the clock, and pacing with it so that power stays about where it is."""
        frequencies = self.plant.frequencies_hz
        ratio = frequencies[self.step_index] / frequencies[index]
        self.duty = min(max(self.duty * ratio**TYPICAL, MIN_DUTY), 1.0)
        self.step_index = index
        self._settle(now_s, power_mw)


def _since(since_s: float, now_s: float, holds: bool) -> float:
    """Since when something holds; infinite while it does not."""
    return min(since_s, now_s) if holds else math.inf
