"""Between two steps of an engine: how long to rest, what the step cost. Knows no engine and no request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside.power.energy import EnergyMeter
from lineside.power.limit import Limit, PublishedLimit

NS_PER_S = 1_000_000_000
# A rest that took too long is made up for, up to this much; what was not used while idle is not.
MAX_CREDIT_NS = 50_000_000
# Commands are taken and deadlines looked at no later than this.
MAX_PAUSE_NS = NS_PER_S


@dataclass(slots=True)
class Spans:
    """Sums up times that begin and end. One thread begins and ends, any reads."""

    _state: tuple[int, int | None] = field(default=(0, None), init=False)

    def begin(self, now_ns: int) -> bool:
        """Begin one; False where one has begun already."""
        total_ns, since_ns = self._state
        if since_ns is None:
            self._state = (total_ns, now_ns)
        return since_ns is None

    def end(self, now_ns: int) -> None:
        """End it, where one has begun."""
        self._state = (self.until(now_ns), None)

    def until(self, now_ns: int) -> int:
        """Nanoseconds of all of them."""
        total_ns, since_ns = self._state
        return total_ns if since_ns is None else total_ns + max(now_ns - since_ns, 0)


@dataclass(slots=True)
class Pacer:
    """Lets the engine run for a share of the time. Belongs to the engine's thread, but for the counters."""

    published: PublishedLimit = field(default_factory=lambda: PublishedLimit(time.monotonic_ns))
    meter: EnergyMeter = field(default_factory=EnergyMeter)
    clock_ns: Callable[[], int] = time.monotonic_ns
    tokens: int = field(default=0, init=False)
    engine_j: float = field(default=0.0, init=False)
    _active: Spans = field(default_factory=Spans, init=False)
    _busy: Spans = field(default_factory=Spans, init=False)
    _begun_ns: int | None = field(default=None, init=False)
    _next_ns: int = field(default=0, init=False)
    _charged_j: float | None = field(default=None, init=False)

    def limit(self) -> Limit:
        """What power allows now."""
        return self.published.read()

    def pause_s(self) -> float:
        """Seconds until the next step may begin; asked while there is work."""
        now_ns = self.clock_ns()
        if self._active.begin(now_ns):
            self._charged_j = self.meter.joules(now_ns)
        return min(max(self._next_ns - now_ns, 0), MAX_PAUSE_NS) / NS_PER_S

    def rest(self) -> None:
        """There is no work."""
        self._active.end(self.clock_ns())

    def begin(self) -> int:
        """A step begins now; `stepped` has to follow, then `finished`."""
        self._begun_ns = self.clock_ns()
        self._busy.begin(self._begun_ns)
        return self._begun_ns

    def stepped(self, tokens: int) -> float | None:
        """The engine has answered. Returns the joules since the step before, where measured."""
        self.tokens += tokens
        before_j, self._charged_j = self._charged_j, self.meter.joules(self.clock_ns())
        if before_j is None or self._charged_j is None:
            return None
        used_j = max(self._charged_j - before_j, 0.0)
        self.engine_j += used_j
        return used_j

    def finished(self) -> None:
        """All that belongs to the step is done, the choice of its tokens, too: earn the next one."""
        if self._begun_ns is None:
            return
        begun_ns, self._begun_ns, now_ns = self._begun_ns, None, self.clock_ns()
        self._busy.end(now_ns)
        earliest_ns = max(self._next_ns, begun_ns - MAX_CREDIT_NS)
        self._next_ns = earliest_ns + round((now_ns - begun_ns) / self.limit().duty)

    def active_ns(self) -> int:
        """How long there has been work, in total; read by the governor."""
        return self._active.until(self.clock_ns())

    def busy_ns(self) -> int:
        """How long steps have taken, in total; read by the governor."""
        return self._busy.until(self.clock_ns())

    @property
    def tokens_per_j(self) -> float | None:
        """Tokens over the energy of the steps and the rests between them."""
        return self.tokens / self.engine_j if self.engine_j else None
