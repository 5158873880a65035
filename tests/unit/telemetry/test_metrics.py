"""The page as Prometheus's own parsers read it."""

import dataclasses
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from lineside.errors import Reason, RejectedError
from lineside.ports import EngineFacts
from lineside.power.facts import PowerFacts
from lineside.power.readings import Reading
from lineside.serving.request import EndEvent, FinishReason, Priority, Timings, Usage
from lineside.serving.tallies import FIRST_TOKEN_S, REQUEST_S, TOKEN_S, Load, Tallies
from lineside.telemetry.diagnoses import DiagnosisTallies
from lineside.telemetry.metrics import Metrics
from lineside.telemetry.status import Status

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ENGINE = EngineFacts("onnxruntime", "cpu", "tiny", "int8", 4, 64, 258, 4096, 1, 0, 8.0, 900.0)
POWER = PowerFacts(
    state="ok",
    detail="",
    limit_w=15.0,
    limit_source="configuration",
    power_w=9.5,
    total="sum",
    rails_w=(Reading("VDD_IN", 9.5, "ok"), Reading("VDD_SOC", None, "missing")),
    temperatures_c=(Reading("tj", 51.0, "ok"),),
    gpu_load=None,
    gpu_hz=None,
    gpu_max_hz=None,
    duty=0.75,
    max_batch=4,
    floor_w=None,
    energy_j=120.0,
    tokens_per_j=2.5,
    over_current_events=0,
    mode="15W",
    joules_per_diagnosis=8.0,
)


def metrics(*, serving=None, diagnoses=None, **facts):
    status = Status()
    status.count("reports_accepted", 3)
    return Metrics(
        lambda: dataclasses.replace(status.status(), **facts),
        serving or Tallies(),
        diagnoses or DiagnosisTallies(),
        lambda: {Priority.CRITICAL: 2},
    )


def samples(made):
    """Value by sample, from the plain format."""
    _, page = made.page("text/plain")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def end(finish=FinishReason.STOP, **fields):
    timings = Timings(queue_ms=400, first_token_ms=700, total_ms=1500)
    return EndEvent(finish, Usage(12, 9, 4, 2, 5, 7, 3), timings, **fields)


def test_both_formats_are_what_they_say():
    made = metrics(engine=ENGINE, power=POWER)
    kind, page = made.page(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics.text_string_to_metric_families(page.decode())}
    kind, page = made.page("")
    assert kind.startswith("text/plain")
    plain = {family.name for family in text_string_to_metric_families(page.decode())}
    assert {"lineside_step_seconds", "lineside_state", "lineside_energy_joules"} <= names & plain
    assert all(name.startswith(("lineside_", "process_")) for name in names | plain)


def test_what_the_daemon_is_and_does():
    found = samples(
        metrics(engine=ENGINE, power=POWER, state="ready", broker_connected=True, journal_pending=5)
    )
    assert found["lineside_state", "ready"] == 1
    assert found["lineside_state", "draining"] == 0
    assert found["lineside_mqtt_connected",] == 1
    assert found["lineside_journal_pending",] == 5
    assert found["lineside_reports_waiting", "critical"] == 2
    assert found["lineside_reports_waiting", "low"] == 0
    assert found["lineside_events_total", "reports_accepted"] == 3
    assert found["lineside_engine_info", "cpu", "int8", "onnxruntime", "tiny"] == 1
    assert found["lineside_power_watts",] == 9.5
    assert found["lineside_energy_joules_total",] == 120
    assert found["lineside_tokens_per_joule",] == 2.5
    assert found["lineside_rail_watts", "VDD_IN"] == 9.5


def test_what_is_not_measured_is_not_there():
    power = dataclasses.replace(POWER, power_w=None, energy_j=None, tokens_per_j=None)
    names = {name for name, *_ in samples(metrics(power=power))}
    assert "lineside_power_watts" not in names
    assert "lineside_energy_joules_total" not in names
    assert ("lineside_rail_watts", "VDD_SOC") not in samples(metrics(power=power))
    assert not any("power" in name for name, *_ in samples(metrics()))
    assert samples(metrics())["lineside_engine_ready",] == 0


def test_requests_by_how_they_ended():
    tallies = Tallies()
    tallies.end(end())
    tallies.end(end(FinishReason.ABORTED, reason=Reason.DEADLINE))
    with pytest.raises(RejectedError), tallies.refusals():
        raise RejectedError(Reason.OVERLOAD, "full")
    tallies.load = lambda: Load(3, {Priority.HIGH: 2}, 0.5)
    found = samples(metrics(serving=tallies))
    assert found["lineside_request_success_total", "stop"] == 1
    assert found["lineside_request_success_total", "abort"] == 1
    assert found["lineside_request_success_total", "length"] == 0
    assert found["lineside_requests_aborted_total", "deadline"] == 1
    assert found["lineside_requests_refused_total", "overload"] == 1
    assert found["lineside_prompt_tokens_total",] == 24
    assert found["lineside_forced_tokens_total",] == 8
    assert found["lineside_thinking_tokens_total",] == 4
    assert found["lineside_prefix_cache_hits_total",] == 10
    assert found["lineside_spec_decode_num_draft_tokens_total",] == 14
    assert found["lineside_spec_decode_num_accepted_tokens_total",] == 6
    assert found["lineside_num_requests_running",] == 3
    assert found["lineside_num_requests_waiting", "high"] == 2
    assert found["lineside_kv_cache_usage_perc",] == 0.5
    assert found["lineside_time_to_first_token_seconds_bucket", "0.75"] == 2
    assert found["lineside_time_to_first_token_seconds_bucket", "0.5"] == 0
    assert found["lineside_request_queue_time_seconds_sum",] == pytest.approx(0.8)
    assert found["lineside_e2e_request_latency_seconds_count",] == 2


def test_who_never_had_a_token_has_no_time_to_the_first():
    tallies = Tallies()
    tallies.end(EndEvent(FinishReason.ABORTED, Usage(12), Timings(), Reason.CANCELLED))
    assert samples(metrics(serving=tallies))["lineside_time_to_first_token_seconds_count",] == 0


def test_steps_by_kind_and_what_they_cost_beside_the_engine():
    tallies = Tallies()
    tallies.stepped("decode", 9_000_000, 200_000)
    tallies.stepped("chunk", 90_000_000, 300_000)
    found = samples(metrics(serving=tallies))
    assert found["lineside_step_seconds_sum", "decode"] == pytest.approx(0.009)
    assert found["lineside_step_seconds_bucket", "0.125", "chunk"] == 1
    assert found["lineside_step_overhead_seconds_total",] == pytest.approx(0.0005)


def test_diagnoses_by_mode_and_outcome():
    tallies = DiagnosisTallies()
    tallies.made["rules", "abstain"] += 1
    tallies.seconds["rules"].observe(0.004)
    found = samples(metrics(diagnoses=tallies))
    assert found["lineside_diagnoses_total", "abstain", "rules"] == 1
    assert found["lineside_diagnoses_total", "model", "ok"] == 0
    assert found["lineside_diagnosis_seconds_count", "rules"] == 1


def test_the_document_has_every_metric_with_its_kind_and_meaning():
    _, page = metrics(engine=ENGINE, power=POWER).page("text/plain")
    table = DOCUMENT.read_text("utf-8")
    for family in text_string_to_metric_families(page.decode()):
        if family.name.startswith("lineside_") and not family.name.endswith(("_info", "_state")):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert f"| `{name}` | {family.type} |" in table, name
            assert family.documentation in table


def test_the_buckets_are_those_that_vllm_has():
    assert (len(FIRST_TOKEN_S), len(TOKEN_S), len(REQUEST_S)) == (22, 19, 21)
    for bounds in (FIRST_TOKEN_S, TOKEN_S, REQUEST_S):
        assert list(bounds) == sorted(set(bounds))
