"""The governor's thread: sample, decide, publish, act. Knows no engine; what it publishes, others read."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside.power.actuators import Actuators
from lineside.power.board import Board, HeatSample, PowerSample
from lineside.power.control import Control
from lineside.power.controller import Controller, Decision, Plant, Sensed, Setting
from lineside.power.energy import EnergyShares
from lineside.power.facts import PowerFacts
from lineside.power.gpu_share import GpuShare
from lineside.power.limit import UNLIMITED, Limit
from lineside.power.nvml import GPU_RAIL
from lineside.power.pacer import Pacer
from lineside.power.readings import Reading
from lineside.power.settings import Wish
from lineside.power.thermal import first_acting_trip

log = logging.getLogger(__name__)

SAMPLE_S = 0.1
HEAT_EVERY = 10
REPORT_EVERY = 600
# After this without a new decision, what was published does not count any more.
VALID_NS = 2_000_000_000
STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    power: PowerSample
    heat: HeatSample
    wish: Wish
    decision: Decision
    smooth_mw: float | None


@dataclass(slots=True)
class Governor:
    """Runs from `start` to `stop`. `facts` may be asked from any thread."""

    board: Board
    pacer: Pacer
    wish: Callable[[], Wish]
    actuators: Actuators
    max_batch: int
    control: Control | None = None
    energy: EnergyShares = field(init=False)
    _controller: Controller = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _snapshot: _Snapshot | None = field(default=None, init=False)
    _heat: HeatSample | None = field(default=None, init=False)
    _tick: int = field(default=0, init=False)
    _last: tuple[int, int, int] | None = field(default=None, init=False)
    _mode: tuple[str, int] = field(default=("", 0), init=False)
    _share: GpuShare | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._controller = self._new_controller()
        if (gpu := self.actuators.gpu_limit) is not None:
            self._share = GpuShare(gpu.limit.least_mw, gpu.top_mw)
        self.energy = EnergyShares(self.pacer.meter)

    def start(self) -> None:
        """Begin to sample."""
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and put back what was changed."""
        self._stopping.set()
        if self.control is not None:
            self.control.stop()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self.pacer.published.publish(UNLIMITED)
        self.actuators.restore()
        self.board.close()

    def facts(self) -> PowerFacts | None:
        """The state as of the last sample; None before the first."""
        snapshot = self._snapshot
        return None if snapshot is None else self._facts(snapshot)

    def step(self, now_ns: int) -> Decision:
        """One round."""
        if self._heat is None or self._tick % HEAT_EVERY == 0:
            self._heat = self.board.sample_heat(now_ns)
        wish = self.wish()
        self._take_mode(wish)
        power, heat = self.board.sample_power(now_ns), self._heat
        self.pacer.meter.add(power.total.usable, now_ns)
        demand, busy = self._shares(now_ns)
        sensed = Sensed(
            now_s=now_ns / 1e9,
            power_mw=power.total.usable,
            temperature_c=heat.hottest.usable,
            demand=demand,
            over_current_events=_sum(heat.over_current),
            has_power_sensor=power.total.state != "missing",
            busy=busy,
        )
        decision = self._controller.step(sensed, Setting(wish.limit_w * 1000, wish.temperature_max_c))
        self._publish(decision, now_ns)
        self.actuators.cap_clock(decision.gpu_max_hz, wish.limit_w > 0)
        if self._controller.plant.frequencies_hz and self.actuators.cap_failed:
            self._controller = self._new_controller(self._controller.duty)
        decision = self._limit_gpu(now_ns, decision, power)
        self._snapshot = _Snapshot(power, heat, wish, decision, self._controller.power_mw)
        self._tick += 1
        return decision

    def _run(self) -> None:
        state = ""
        while not self._stopping.is_set():
            try:
                decision = self.step(time.monotonic_ns())
            except Exception:  # what was published expires: the careful limit holds
                log.exception("the power governor failed in a round")
            else:
                if decision.state != state or self._tick % REPORT_EVERY == 0:
                    state = decision.state
                    self._report()
            self._stopping.wait(SAMPLE_S)

    def _publish(self, decision: Decision, now_ns: int) -> None:
        limit = Limit(decision.duty, decision.max_batch, decision.refusal, now_ns + VALID_NS)
        self.pacer.published.publish(limit)

    def _limit_gpu(self, now_ns: int, decision: Decision, power: PowerSample) -> Decision:
        """Leave to the driver what it can hold by itself, and tell that it holds."""
        gpu = self.actuators.gpu_limit
        if self._share is None or gpu is None:
            return decision
        gpu_mw = next((rail.usable for rail in power.rails if rail.name == GPU_RAIL), None)
        share_mw = self._share.step(now_ns / 1e9, decision.limit_mw, power.total.usable, gpu_mw)
        self.actuators.limit_gpu(share_mw)
        if gpu.set_mw is None or decision.state != "ok":
            return decision
        return dataclasses.replace(decision, state="limiting")

    def _take_mode(self, wish: Wish) -> None:
        """Have the board take the mode that is asked, once each time that one is."""
        asked = (wish.mode, wish.mode_asked)
        if asked == self._mode:
            return
        self._mode = asked
        if self.actuators.set_mode(wish.mode):
            self._controller = self._new_controller(self._controller.duty)

    def _new_controller(self, duty: float = 1.0) -> Controller:
        """One for what can be acted on now."""
        trip_c = first_acting_trip(self.board.zones, self.wish().temperature_max_c)
        controller = Controller(Plant(self.actuators.frequencies_hz, self.max_batch, trip_c))
        controller.duty = duty
        return controller

    def _shares(self, now_ns: int) -> tuple[float, float]:
        """In which parts of the time since the last round there was work, and a step ran."""
        now = (now_ns, self.pacer.active_ns(), self.pacer.busy_ns())
        last, self._last = self._last, now
        if last is None or now_ns <= last[0]:
            return 0.0, 0.0
        elapsed_ns = now_ns - last[0]
        return min((now[1] - last[1]) / elapsed_ns, 1.0), min((now[2] - last[2]) / elapsed_ns, 1.0)

    def _report(self) -> None:
        facts = self.facts()
        if facts is None:
            return
        names = ("state", "power_w", "limit_w", "duty", "max_batch", "energy_j", "tokens_per_j", "floor_w")
        values = {name: getattr(facts, name) for name in names}
        fields = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items() if v is not None}
        level = logging.INFO if facts.state in ("unlimited", "ok", "limiting") else logging.WARNING
        log.log(level, "power %s", facts.detail, extra=fields)

    def _facts(self, snapshot: _Snapshot) -> PowerFacts:
        power, heat, decision = snapshot.power, snapshot.heat, snapshot.decision
        total_mw = snapshot.smooth_mw if snapshot.smooth_mw is not None else power.total.usable
        return PowerFacts(
            state=decision.state,
            detail=self._detail(snapshot),
            limit_w=snapshot.wish.limit_w,
            limit_source=snapshot.wish.source,
            power_w=_watts(total_mw),
            total=self.board.total.explanation,
            rails_w=tuple(Reading(r.name, _watts(r.value), r.state, r.detail) for r in power.rails),
            temperatures_c=heat.zones,
            gpu_load=heat.gpu_load.usable,
            gpu_hz=heat.gpu_hz.usable,
            gpu_max_hz=decision.gpu_max_hz if snapshot.wish.limit_w else None,
            duty=decision.duty,
            max_batch=decision.max_batch,
            floor_w=_watts(decision.floor_mw),
            energy_j=self.pacer.meter.total_j,
            tokens_per_j=self.pacer.tokens_per_j,
            over_current_events=_sum(heat.over_current),
            mode=self.actuators.mode.name if self.actuators.mode else "",
            joules_per_diagnosis=self.energy.mean_j,
            gpu_limit_w=_watts(self.actuators.gpu_limit.set_mw if self.actuators.gpu_limit else None),
        )

    def _detail(self, snapshot: _Snapshot) -> str:
        decision, total = snapshot.decision, snapshot.power.total
        parts = [decision.refusal]
        if decision.state == "cap_unreachable" and decision.floor_mw is not None:
            parts.append(f"at the lowest setting the machine draws {decision.floor_mw / 1000:.1f} W")
        if decision.state in ("sensor_stale", "no_sensor"):
            parts.append(f"the limit cannot be measured: {total.detail}")
        return "; ".join(filter(None, (*parts, *self.actuators.troubles)))


def _watts(milliwatts: float | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _sum(readings: tuple[Reading, ...]) -> int:
    return int(sum(reading.value or 0 for reading in readings))
