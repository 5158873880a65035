"""The command line's client. Knows nothing of how answers are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import grpc

from lineside.config import Config, GrpcConfig
from lineside.errors import LinesideError
from lineside.ports import EngineFacts, StatusFacts
from lineside.power.facts import PowerFacts
from lineside.power.readings import Reading, State
from lineside.security.files import CertificateFiles
from lineside.transport.grpc.tls import Identity, channel_credentials
from lineside.v1 import admin_pb2, admin_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secured:
    """A daemon behind TLS."""

    address: str
    identity: Identity


Place: TypeAlias = "str | Secured"

STATUS_TIMEOUT_S = 5.0
# A proxy of the environment is not for the machine's own network.
OPTIONS = (("grpc.enable_http_proxy", 0),)
LOG_HINT = "the daemon's log says more"
HINTS = {
    grpc.StatusCode.UNAVAILABLE: "is the daemon running? lineside serve; does it ask for TLS? "
    "--ca, --cert and --key of the authority that it knows",
    grpc.StatusCode.DEADLINE_EXCEEDED: "give it more time; lineside status tells what the daemon does",
    grpc.StatusCode.UNIMPLEMENTED: "something else than a Lineside daemon listens there",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the daemon is busy: ask again later",
    grpc.StatusCode.INVALID_ARGUMENT: "correct the report; lineside schema report prints what it may hold",
    grpc.StatusCode.CANCELLED: "ask again",
}


def diagnose(address: Place, report: bytes, timeout_s: float) -> bytes:
    """Ask for a diagnosis; returns its JSON document."""
    request = diagnosis_pb2.DiagnoseRequest(report_json=report)

    def ask(channel: grpc.Channel) -> diagnosis_pb2.DiagnoseResponse:
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
        response: diagnosis_pb2.DiagnoseResponse = stub.Diagnose(request, timeout=timeout_s)
        return response

    return call(address, "diagnose", ask).diagnosis_json


def give_feedback(address: Place, feedback: bytes, timeout_s: float) -> bytes:
    """Give a verdict; returns the receipt's JSON document."""
    request = diagnosis_pb2.GiveFeedbackRequest(feedback_json=feedback)

    def ask(channel: grpc.Channel) -> diagnosis_pb2.GiveFeedbackResponse:
        stub = diagnosis_pb2_grpc.FeedbackServiceStub(channel)
        response: diagnosis_pb2.GiveFeedbackResponse = stub.GiveFeedback(request, timeout=timeout_s)
        return response

    return call(address, "give feedback", ask).receipt_json


def place_of(config: Config) -> Place:
    """Where a daemon so configured is reached from this machine, with its own certificate as ours."""
    address = address_of(config.grpc)
    if not config.grpc.tls:
        return address
    files = CertificateFiles(config.certs_path)
    return Secured(address, Identity(files.ca, files.server, files.server_key))


def address_of(config: GrpcConfig) -> str:
    """Its address from this machine."""
    # One that listens everywhere is reached here.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104
    return f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"


def status(address: Place) -> StatusFacts:
    """Ask how the daemon is."""

    def ask(channel: grpc.Channel) -> admin_pb2.GetStatusResponse:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        response: admin_pb2.GetStatusResponse = stub.GetStatus(
            admin_pb2.GetStatusRequest(), timeout=STATUS_TIMEOUT_S
        )
        return response

    return status_facts(call(address, "ask for the status", ask))


def call(place: Place, operation: str, ask: Callable[[grpc.Channel], T]) -> T:
    """What `ask` returns; what gRPC raises becomes an error that says what to do."""
    with open_channel(place) as channel:
        try:
            return ask(channel)
        except grpc.RpcError as error:
            address = place if isinstance(place, str) else place.address
            raise explained(address, operation, error) from error


def open_channel(place: Place) -> grpc.Channel:
    """A channel, with TLS where there is an identity."""
    if isinstance(place, str):
        return grpc.insecure_channel(place, options=OPTIONS)
    return grpc.secure_channel(place.address, channel_credentials(place.identity), options=OPTIONS)


def explained(address: str, operation: str, error: grpc.RpcError) -> LinesideError:
    """The error for an operator. One with a reason comes from the daemon itself, which therefore runs."""
    code, details = error.code(), error.details() or ""
    trailing = {pair.key: str(pair.value) for pair in error.trailing_metadata() or ()}
    reason = trailing.get("lineside-reason")
    if code is grpc.StatusCode.UNAVAILABLE and reason is None:
        return LinesideError(operation, f"no daemon answers at {address}: {details}"[:500], HINTS[code])
    if reason in ("draining", "not_ready"):
        return LinesideError(
            operation, f"{address}: {details}", "the daemon starts or stops: ask again later"
        )
    hint = LOG_HINT if reason == "storage" else HINTS.get(code, LOG_HINT)
    return LinesideError(operation, f"{address}: {reason or code.name.lower()}: {details}", hint)


def status_facts(response: admin_pb2.GetStatusResponse) -> StatusFacts:
    """The response as the daemon's own facts."""
    return StatusFacts(
        version=response.version,
        state=admin_pb2.ServiceState.Name(response.state).removeprefix("SERVICE_STATE_").lower(),
        detail=response.detail,
        uptime_s=response.uptime_s,
        engine=engine_facts(response.engine) if response.HasField("engine") else None,
        knowledge_version=response.knowledge.version,
        knowledge_entries=response.knowledge.entries,
        broker_address=response.broker.address,
        broker_connected=response.broker.connected,
        broker_managed=response.broker.managed,
        journal_pending=response.journal.pending,
        journal_unpublished=response.journal.unpublished,
        counters=dict(response.counters),
        power=power_facts(response.power) if response.HasField("power") else None,
        engine_choice=response.engine_choice,
        knowledge_texts_embedded=response.knowledge.texts_embedded,
        knowledge_texts=response.knowledge.texts,
    )


def power_facts(power: admin_pb2.PowerStatus) -> PowerFacts:
    """Power and heat."""

    def given(name: str) -> float | None:
        return getattr(power, name) if power.HasField(name) else None

    return PowerFacts(
        state=power.state,
        detail=power.detail,
        limit_w=power.limit_w,
        limit_source=power.limit_source,
        power_w=given("power_w"),
        total=power.total,
        rails_w=tuple(reading(sensor) for sensor in power.rails_w),
        temperatures_c=tuple(reading(sensor) for sensor in power.temperatures_c),
        gpu_load=given("gpu_load"),
        gpu_hz=given("gpu_hz"),
        gpu_max_hz=given("gpu_max_hz"),
        duty=power.duty,
        max_batch=power.max_batch,
        floor_w=given("floor_w"),
        energy_j=given("energy_j"),
        tokens_per_j=given("tokens_per_j"),
        over_current_events=power.over_current_events,
        mode=power.mode,
        joules_per_diagnosis=given("joules_per_diagnosis"),
        gpu_limit_w=given("gpu_limit_w"),
    )


def reading(sensor: admin_pb2.PowerSensor) -> Reading:
    """A sensor with its state; one that this version does not know counts as missing."""
    state: State = "ok" if sensor.state == "ok" else "stale" if sensor.state == "stale" else "missing"
    value = sensor.value if sensor.HasField("value") else None
    return Reading(sensor.name, value, state, sensor.detail)


def engine_facts(engine: admin_pb2.EngineStatus) -> EngineFacts:
    """The engine's part. The vocabulary's size does not travel."""
    return EngineFacts(
        name=engine.name,
        device=engine.device,
        model=engine.model,
        precision=engine.precision,
        slots=engine.slots,
        max_seq_len=engine.max_seq_len,
        vocab_size=0,
        cache_bytes=engine.cache_bytes,
        running=engine.running,
        waiting=engine.waiting,
        step_ms=engine.step_ms,
        prefill_tokens_per_s=engine.prefill_tokens_per_s,
    )
