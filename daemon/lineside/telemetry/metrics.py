"""The daemon's state and counts as Prometheus metrics. Knows nothing of HTTP.

Every label has few values, all of them the daemon's own: no device, topic, client or text becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)

from lineside.errors import Reason
from lineside.ports import EngineFacts, StatusFacts
from lineside.power.facts import PowerFacts
from lineside.power.readings import Reading
from lineside.serving.request import FinishReason, Priority
from lineside.serving.tallies import Tallies
from lineside.telemetry.diagnoses import MODES, OUTCOMES, DiagnosisTallies
from lineside.telemetry.histogram import Histogram

STATES = ("starting", "ready", "degraded", "draining")
Name = TypeVar("Name", bound=str)
# Names as vLLM has them where the meaning is the same.
FINISHED = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length", FinishReason.ABORTED: "abort"}


@dataclass(slots=True, eq=False)
class Metrics:
    """Pages for scrapers. Each of its sources returns at once.

    `reports_waiting`: reports off the broker that are stored and not yet begun.
    """

    status: Callable[[], StatusFacts]
    serving: Tallies
    diagnoses: DiagnosisTallies
    reports_waiting: Callable[[], Mapping[Priority, int]] = dict
    _registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, as OpenMetrics where `accept` asks for that."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing before it is asked for: registering does not need the sources yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric but the process's."""
        status = self.status()
        yield from _daemon(status)
        yield from _journal(status, self.reports_waiting())
        yield from _diagnoses(self.diagnoses)
        yield from _engine(status.engine)
        yield from _requests(self.serving)
        yield from _steps(self.serving)
        if status.power is not None:
            yield from _power(status.power)


def _daemon(status: StatusFacts) -> Iterator[Metric]:
    yield InfoMetricFamily("lineside_build", "The daemon's version.", {"version": status.version})
    states = {state: state == status.state for state in STATES}
    yield StateSetMetricFamily("lineside_state", "What the daemon is doing.", states)
    yield _gauge("lineside_uptime_seconds", "Since the start.", status.uptime_s)
    yield _gauge("lineside_mqtt_connected", "1 while the broker is reached.", status.broker_connected)
    yield _gauge("lineside_knowledge_entries", "Manual entries that are served.", status.knowledge_entries)
    yield _gauge("lineside_knowledge_texts", "Texts that an embedder is to read.", status.knowledge_texts)
    yield _gauge(
        "lineside_knowledge_texts_embedded", "Of these, how many it has.", status.knowledge_texts_embedded
    )
    yield _counters("lineside_events", "What lineside status counts.", "event", status.counters)


def _journal(status: StatusFacts, waiting: Mapping[Priority, int]) -> Iterator[Metric]:
    yield _gauge("lineside_journal_pending", "Reports without an answer.", status.journal_pending)
    text = "Answers that the broker has not taken yet."
    yield _gauge("lineside_journal_unpublished", text, status.journal_unpublished)
    yield _by_priority(
        "lineside_reports_waiting", "Reports off the broker that wait for their turn.", waiting
    )


def _diagnoses(tallies: DiagnosisTallies) -> Iterator[Metric]:
    family = CounterMetricFamily("lineside_diagnoses", "Diagnoses made.", labels=("mode", "outcome"))
    for mode in MODES:
        for outcome in OUTCOMES:
            family.add_metric((mode, outcome), tallies.made[mode, outcome])
    yield family
    text = "From a report's arrival in the pipeline to its diagnosis."
    yield _histograms("lineside_diagnosis_seconds", text, "mode", tallies.seconds)


def _engine(engine: EngineFacts | None) -> Iterator[Metric]:
    yield _gauge("lineside_engine_ready", "1 where a model is served.", engine is not None)
    if engine is None:
        return
    names = {"engine": engine.name, "device": engine.device}
    names |= {"model": engine.model, "precision": engine.precision}
    yield InfoMetricFamily("lineside_engine", "The engine that serves, and its model.", names)
    yield _gauge("lineside_engine_slots", "Sequences that may run at once.", engine.slots)
    yield _gauge("lineside_kv_cache_bytes", "Memory of every slot's cache.", engine.cache_bytes)


def _requests(tallies: Tallies) -> Iterator[Metric]:
    load = tallies.load()
    yield _gauge("lineside_num_requests_running", "Requests that have begun and hold a slot.", load.running)
    yield _by_priority("lineside_num_requests_waiting", "Requests that wait for a slot.", load.waiting)
    yield _gauge("lineside_kv_cache_usage_perc", "Share of all cache positions in use, 0 to 1.", load.cached)
    ended = {name: tallies.ended[finish] for finish, name in FINISHED.items()}
    yield _counters("lineside_request_success", "Requests that ended, by how.", "finished_reason", ended)
    aborted = {reason.value: tallies.aborted[reason] for reason in Reason if tallies.aborted[reason]}
    yield _counters("lineside_requests_aborted", "Admitted requests that were ended.", "reason", aborted)
    refused = {reason.value: tallies.refused[reason] for reason in Reason if tallies.refused[reason]}
    yield _counters("lineside_requests_refused", "Requests that were not admitted.", "reason", refused)
    text = "Tokens of prompts, counted when their request ends."
    yield CounterMetricFamily("lineside_prompt_tokens", text, tallies.prompt_tokens)
    text = "Tokens that reasoning models thought, counted when their request ends."
    yield CounterMetricFamily("lineside_thinking_tokens", text, tallies.thinking_tokens)
    text = "Tokens that a grammar left no choice about, counted when their request ends."
    yield CounterMetricFamily("lineside_forced_tokens", text, tallies.forced_tokens)
    text = "Tokens of prompts that were cached already, counted when their request ends."
    yield CounterMetricFamily("lineside_prefix_cache_hits", text, tallies.reused_tokens)
    text = "Tokens that were guessed and checked, counted when their request ends."
    yield CounterMetricFamily("lineside_spec_decode_num_draft_tokens", text, tallies.drafted_tokens)
    text = "Of these, how many were right."
    yield CounterMetricFamily("lineside_spec_decode_num_accepted_tokens", text, tallies.accepted_tokens)
    text = "From admission to the first token that a model picked."
    yield _histogram("lineside_time_to_first_token_seconds", text, tallies.first_token)
    yield _histogram(
        "lineside_request_queue_time_seconds", "From admission to the first step.", tallies.queued
    )
    yield _histogram("lineside_e2e_request_latency_seconds", "From admission to the end.", tallies.whole)


def _steps(tallies: Tallies) -> Iterator[Metric]:
    yield CounterMetricFamily("lineside_generation_tokens", "Tokens of answers.", tallies.generated_tokens)
    text = "Between two steps that gave the same request a token."
    yield _histogram("lineside_inter_token_latency_seconds", text, tallies.between_tokens)
    text = "The engine's part of a step: one token of each sequence (decode), or more of some (chunk)."
    yield _histograms("lineside_step_seconds", text, "kind", tallies.steps)
    text = "What the engine's thread did between steps: commands, planning, sampling, grammar, handing over."
    yield CounterMetricFamily("lineside_step_overhead_seconds", text, tallies.overhead_ns / 1e9)


def _power(power: PowerFacts) -> Iterator[Metric]:
    yield InfoMetricFamily("lineside_power", "How power is held.", {"state": power.state, "mode": power.mode})
    measured = (
        ("lineside_power_limit_watts", "The limit; 0: none.", power.limit_w),
        ("lineside_power_watts", "What the machine draws.", power.power_w),
        ("lineside_power_duty", "Share of the time that the engine may run.", power.duty),
        ("lineside_power_max_batch", "Sequences that may take part in a step.", power.max_batch),
        ("lineside_gpu_load", "The GPU's load, 0 to 1.", power.gpu_load),
        ("lineside_gpu_hertz", "The GPU's clock.", power.gpu_hz),
        ("lineside_tokens_per_joule", "Tokens over the energy of the engine's steps.", power.tokens_per_j),
        ("lineside_joules_per_diagnosis", "Energy of a diagnosis, on average.", power.joules_per_diagnosis),
    )
    for name, text, value in measured:
        if value is not None:
            yield _gauge(name, text, value)
    if power.energy_j is not None:
        yield CounterMetricFamily(
            "lineside_energy_joules", "Drawn by the machine since the start.", power.energy_j
        )
    text = "Times that the board has limited its current."
    yield CounterMetricFamily("lineside_over_current_events", text, power.over_current_events)
    yield _readings("lineside_rail_watts", "Power of the board's rails.", "rail", power.rails_w)
    yield _readings("lineside_temperature_celsius", "The board's sensors.", "sensor", power.temperatures_c)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _readings(name: str, text: str, label: str, readings: tuple[Reading, ...]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for reading in readings:
        if reading.usable is not None:
            family.add_metric((reading.name,), reading.usable)
    return family


def _by_priority(name: str, text: str, counts: Mapping[Priority, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("priority",))
    for priority in Priority:
        family.add_metric((priority.name.lower(),), counts.get(priority, 0))
    return family


def _counters(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, histogram.cumulative(), histogram.total)


def _histograms(name: str, text: str, label: str, histograms: Mapping[Name, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, histogram in histograms.items():
        family.add_metric((value,), histogram.cumulative(), histogram.total)
    return family
