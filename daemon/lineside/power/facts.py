"""What the power governor tells of itself. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.power.readings import Reading


@dataclass(frozen=True, slots=True)
class PowerFacts:
    """Power, heat and what is done about them; rails in watts, temperatures in degrees Celsius."""

    state: str
    detail: str
    limit_w: float
    limit_source: str
    power_w: float | None
    total: str
    rails_w: tuple[Reading, ...]
    temperatures_c: tuple[Reading, ...]
    gpu_load: float | None
    gpu_hz: float | None
    gpu_max_hz: float | None
    duty: float
    max_batch: int
    floor_w: float | None
    energy_j: float | None
    tokens_per_j: float | None
    over_current_events: int
    mode: str = ""
    joules_per_diagnosis: float | None = None
    gpu_limit_w: float | None = None
