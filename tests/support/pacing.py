"""A real engine under full load, held to fractions of what it uses by pacing alone. Any engine, any meter.

By processor time; or, on a PC, by the power of its GPU, which NVML reads and nobody sets:

    .venv/bin/python scripts/bench-power --json cpu.json --svg cpu.svg
    .venv/bin/python scripts/bench-power --meter nvml --engine tensorrt --bundle DIR --fractions .9,.8

A GPU draws power at rest, too: fractions below its share of that cannot be reached.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from lineside.engine.base import Engine
from lineside.ports import Call, GenerateJob
from lineside.power.controller import Controller, Plant, Sensed, Setting
from lineside.power.energy import EnergyMeter
from lineside.power.limit import Limit
from lineside.power.nvml import find_nvml
from lineside.power.pacer import Pacer
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import Principal, Sampling, TokenEvent
from lineside.serving.service import GenerationService
from lineside.serving.tokenizer import Tokenizer

SAMPLE_S = 0.1
SETTLE_S, MEASURE_S = 8.0, 20.0
PROMPT = "A conveyor drive reports an alarm. "
HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Point:
    """What was asked and what came of it; `use` is in the meter's unit a second (cores, or watts).

    Fraction 1 is unpaced, 0 without any work.
    """

    fraction: float
    asked: float
    use: float
    tokens_per_s: float
    tokens_per_unit: float
    duty: float


@dataclass(frozen=True)
class Meter:
    """What is used, counted without end: `quick` for the governor, `exact` for what is reported."""

    unit: str
    source: str
    quick: Callable[[], float]
    exact: Callable[[], float]


def processor_meter() -> Meter:
    """Core seconds of this process; reported as the kernel accounts them."""
    ticks = os.sysconf("SC_CLK_TCK")

    def accounted() -> float:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return Meter("cores", "the process's time on processors", time.process_time, accounted)


def nvml_meter() -> Meter:
    """Joules of the first GPU: its own counter where it has one, else the integral of its power.

    Raises LookupError, with the reason, where there is neither.
    """
    device = find_nvml()
    if isinstance(device, str) or device.power is None:
        raise LookupError(device if isinstance(device, str) else "; ".join(device.unsupported))
    power, energy, lock = device.power, EnergyMeter(), threading.Lock()

    def used() -> float:
        with lock:
            now_ns = time.monotonic_ns()
            energy.add(power.sample(now_ns).usable, now_ns)
            return energy.total_j or 0.0

    if device.energy is None:
        return Meter("watts", f"{device.name}: the integral of its power", used, used)
    return Meter("watts", f"{device.name}: its energy counter", used, device.energy.read)


class Governed:
    """The governor's loop with another meter in the place of a board's rails, and only pacing to act with."""

    def __init__(self, pacer: Pacer, used: Callable[[], float]) -> None:
        self.pacer, self.limit = pacer, 0.0
        self._used, self._controller = used, Controller(Plant())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Governed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        used, busy_ns, at_s = self._used(), self.pacer.busy_ns(), time.monotonic()
        while not self._stop.wait(SAMPLE_S):
            last = (used, busy_ns, at_s)
            used, busy_ns, at_s = self._used(), self.pacer.busy_ns(), time.monotonic()
            elapsed_s = at_s - last[2]
            power_mw, busy = (used - last[0]) / elapsed_s * 1000, (busy_ns - last[1]) / elapsed_s / 1e9
            decision = self._controller.step(Sensed(at_s, power_mw, busy=busy), Setting(self.limit * 1000))
            self.pacer.published.publish(Limit(decision.duty))


async def pacing_trial(
    engine: Engine,
    text: tuple[Tokenizer, GrammarCompiler],
    meter: Meter,
    fractions: Sequence[float],
    seconds: tuple[float, float] = (SETTLE_S, MEASURE_S),
) -> list[Point]:
    """At rest (fraction 0), unpaced (fraction 1), then each fraction of that: settle, measure."""
    slots, pacer = engine.capabilities.slots, Pacer()
    service = GenerationService(engine, *text, max_waiting=slots, on_failure=print, pacer=pacer)
    points: list[Point] = []
    with Governed(pacer, meter.quick) as governed:
        written = [0] * slots
        await anyio.sleep(seconds[0])
        points.append(await _measure(0.0, 0.0, meter.exact, written, pacer, seconds[1] / 2))
        async with anyio.create_task_group() as group:
            for slot in range(slots):
                group.start_soon(_load, service, written, slot)
            for fraction in (1.0, *fractions):
                asked = fraction * points[1].use if fraction < 1 else 0.0
                governed.limit = asked
                await anyio.sleep(seconds[0])
                points.append(await _measure(fraction, asked, meter.exact, written, pacer, seconds[1]))
            group.cancel_scope.cancel()
    await service.drain(5.0)
    return points


async def _load(service: GenerationService, written: list[int], slot: int) -> None:
    while True:
        call = Call(Principal("bench", "bench"), time.monotonic_ns() + HOUR_NS)
        job = GenerateJob(call, prompt=PROMPT * 4, sampling=Sampling(max_tokens=128, temperature=0.0))
        async for event in service.generate(job):
            if isinstance(event, TokenEvent):
                written[slot] += len(event.tokens)


async def _measure(  # noqa: PLR0917 every one is of another type
    fraction: float, asked: float, used: Callable[[], float], written: list[int], pacer: Pacer, for_s: float
) -> Point:
    before, tokens, begun_s = used(), sum(written), time.monotonic()
    await anyio.sleep(for_s)
    elapsed_s, unit, count = time.monotonic() - begun_s, used() - before, sum(written) - tokens
    worth = count / unit if unit else 0.0
    return Point(fraction, asked, unit / elapsed_s, count / elapsed_s, worth, pacer.limit().duty)
