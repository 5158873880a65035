"""The domain to messages of lineside.v1. Knows nothing of calls or channels."""

from __future__ import annotations

from lineside.diagnosis.diagnosis import Diagnosis, encode_diagnosis
from lineside.errors import Reason
from lineside.ports import EngineFacts, ModelFacts, Retrieved, StatusFacts
from lineside.power.facts import PowerFacts
from lineside.power.readings import Reading
from lineside.power.settings import Wish
from lineside.serving.request import EndEvent, TokenEvent
from lineside.v1 import admin_pb2, common_pb2, diagnosis_pb2, generation_pb2

MAX_SUMMARY_CHARACTERS = 240


def reason_name(reason: Reason | str | None) -> str:
    """The wire's name of a reason; unspecified where there is none."""
    return f"REASON_{Reason(reason).name}" if reason else "REASON_UNSPECIFIED"


def token_message(event: TokenEvent) -> generation_pb2.GenerateEvent:
    """Text that became final."""
    token = generation_pb2.Token(text=event.text, ids=event.tokens, thinking=event.thinking)
    return generation_pb2.GenerateEvent(token=token)


def end_message(event: EndEvent, model: str) -> generation_pb2.GenerateEvent:
    """The terminal event."""
    end = generation_pb2.End(
        finish_reason=f"FINISH_REASON_{event.finish.name}",
        reason=reason_name(event.reason),
        message=event.message,
        usage=common_pb2.Usage(
            prompt_tokens=event.usage.prompt_tokens,
            completion_tokens=event.usage.completion_tokens,
            forced_tokens=event.usage.forced_tokens,
            thinking_tokens=event.usage.thinking_tokens,
        ),
        timings=common_pb2.Timings(
            queue_ms=event.timings.queue_ms,
            first_token_ms=event.timings.first_token_ms,
            total_ms=event.timings.total_ms,
        ),
        model=model,
    )
    return generation_pb2.GenerateEvent(end=end)


def diagnosis_message(diagnosis: Diagnosis) -> diagnosis_pb2.DiagnoseResponse:
    """The JSON document, and what a program branches on."""
    return diagnosis_pb2.DiagnoseResponse(
        diagnosis_json=encode_diagnosis(diagnosis),
        status=f"DIAGNOSIS_STATUS_{diagnosis.status.upper()}",
        reason=reason_name(diagnosis.reason),
        severity=diagnosis.severity,
        summary=summary(diagnosis),
    )


def summary(diagnosis: Diagnosis) -> str:
    """One line for people: whose fault, and what it means or why nobody knows."""
    fault = f"{diagnosis.dev.id} {diagnosis.alarm.code}".strip()
    line = " ".join(f"{fault}: {diagnosis.meaning or diagnosis.message}".split())
    return line if len(line) <= MAX_SUMMARY_CHARACTERS else line[: MAX_SUMMARY_CHARACTERS - 1] + "…"


def retrieved_message(retrieved: Retrieved) -> diagnosis_pb2.DiagnoseEvent:
    """What was found."""
    entries = [
        diagnosis_pb2.RetrievedEntry(ref=entry.ref, source=entry.source, title=entry.title)
        for entry in retrieved.entries
    ]
    return diagnosis_pb2.DiagnoseEvent(retrieved=diagnosis_pb2.Retrieved(entries=entries))


def status_message(facts: StatusFacts) -> admin_pb2.GetStatusResponse:
    """The daemon as it is now."""
    return admin_pb2.GetStatusResponse(
        version=facts.version,
        state=f"SERVICE_STATE_{facts.state.upper()}",
        detail=facts.detail,
        uptime_s=facts.uptime_s,
        engine=engine_message(facts.engine) if facts.engine else None,
        knowledge=admin_pb2.KnowledgeStatus(
            version=facts.knowledge_version,
            entries=facts.knowledge_entries,
            texts_embedded=facts.knowledge_texts_embedded,
            texts=facts.knowledge_texts,
        ),
        broker=admin_pb2.BrokerStatus(
            address=facts.broker_address, connected=facts.broker_connected, managed=facts.broker_managed
        ),
        journal=admin_pb2.JournalStatus(pending=facts.journal_pending, unpublished=facts.journal_unpublished),
        counters=facts.counters,
        power=power_message(facts.power) if facts.power else None,
        engine_choice=facts.engine_choice,
    )


def power_message(facts: PowerFacts) -> admin_pb2.PowerStatus:
    """Power and heat. What is None stays unset."""
    fields = {name: getattr(facts, name) for name in PowerFacts.__slots__}
    fields["rails_w"] = [sensor_message(reading) for reading in facts.rails_w]
    fields["temperatures_c"] = [sensor_message(reading) for reading in facts.temperatures_c]
    return admin_pb2.PowerStatus(**fields)


def power_setting_message(wish: Wish) -> admin_pb2.SetPowerResponse:
    """What operators, configuration and schedule ask for together."""
    return admin_pb2.SetPowerResponse(
        limit_w=wish.limit_w,
        limit_source=wish.source,
        temperature_max_c=wish.temperature_max_c,
        mode=wish.mode,
    )


def sensor_message(reading: Reading) -> admin_pb2.PowerSensor:
    """A sensor with its state."""
    return admin_pb2.PowerSensor(
        name=reading.name, value=reading.value, state=reading.state, detail=reading.detail
    )


def engine_message(facts: EngineFacts) -> admin_pb2.EngineStatus:
    """The engine as it runs now."""
    return admin_pb2.EngineStatus(
        name=facts.name,
        device=facts.device,
        model=facts.model,
        precision=facts.precision,
        slots=facts.slots,
        max_seq_len=facts.max_seq_len,
        cache_bytes=facts.cache_bytes,
        running=facts.running,
        waiting=facts.waiting,
        step_ms=facts.step_ms,
        prefill_tokens_per_s=facts.prefill_tokens_per_s,
    )


def model_message(facts: ModelFacts) -> admin_pb2.Model:
    """A model that is served."""
    return admin_pb2.Model(
        name=facts.name,
        architecture=facts.architecture,
        precision=facts.precision,
        licence=facts.licence,
        max_seq_len=facts.max_seq_len,
        parameters=facts.parameters,
        languages=facts.languages,
        source_sha256=facts.source_sha256,
    )
