"""Counts diagnoses by how they were made and how they ended. Knows nothing of how they are found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from lineside.closing import Closing
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report
from lineside.ports import Call, Diagnoser, DiagnosisEvent
from lineside.telemetry.histogram import Histogram

MODES = ("model", "rules")
OUTCOMES = ("ok", "abstain", "error")
# Seconds: by rules it takes milliseconds, by a model up to minutes.
DIAGNOSIS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)


@dataclass(slots=True)
class DiagnosisTallies:
    """Diagnoses by mode and outcome, and the seconds that they took by mode."""

    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, Histogram] = field(
        default_factory=lambda: {mode: Histogram(DIAGNOSIS_S) for mode in MODES}
    )


@dataclass(frozen=True, slots=True)
class CountedDiagnoser:
    """Implements ports.Diagnoser."""

    inner: Diagnoser
    tallies: DiagnosisTallies

    async def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """See ports.Diagnoser."""
        begun_s = time.monotonic()
        async with Closing(self.inner.diagnose(report, call)) as events:
            async for event in events:
                if isinstance(event, Diagnosis):
                    self.tallies.made[event.mode, event.status] += 1
                    self.tallies.seconds[event.mode].observe(time.monotonic() - begun_s)
                yield event
