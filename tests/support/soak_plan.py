"""What a soak runs, and what it tells. Knows nothing of how it is done."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run; a part of 0 is left out. `forgetful_kills`: of a broker without persistence.

    `warm_up_s`: load before `trouble_s`, in which the daemon's bounded caches fill; not part of any slope.
    `troubles`: of Troubles, all where none is named. Before anything is compared, each is caused once, one in
    `warm_every_s`: threads and connections are made when first needed.
    `settle_s`: how long nothing may come before what is not answered counts as lost.
    `kept_entries`: of the manuals, read ahead while there is time, which takes memory then.
    """

    kills: int
    broker_kills: int
    forgetful_kills: int
    trouble_s: float
    overload_s: float
    warm_up_s: float = 0.0
    journal_s: float = 0.0
    troubles: tuple[str, ...] = ()
    trouble_every_s: float = 60.0
    warm_every_s: float = 10.0
    sample_s: float = 5.0
    settle_s: float = 60.0
    max_pending_reports: int = 300
    kept_entries: int = 0


@dataclass(slots=True)
class Outcome:
    """What is written: the goals' metrics (None: not run), and all that they were made from."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, object] = field(default_factory=dict)


# What is counted by itself of all that was answered, last; the rest is `otherwise`.
ANSWERED = ("diagnosis", "abstention", "text", "poison", "internal", "expired", "overload")
METRICS = (
    "reports_lost",
    "reports_answered_differently",
    "reports_lost_by_broker",
    "kills",
    "memory_slope_mb_per_h",
    "anonymous_memory_slope_mb_per_h",
    "descriptors_leaked",
    "threads_leaked",
    "slots_leaked",
    "critical_answered_within_deadline",
    "overload_memory_slope_mb_per_h",
    "overload_critical_within_deadline",
    "overload_critical_p95_s",
    "overload_shed_fraction",
    "capacity_reports_per_s",
    "journal_slope_mb_per_h",
    "journal_slope_rows_per_h",
    *(f"answered_{one}" for one in ANSWERED),
    "answered_otherwise",
)
