"""lineside.v1 over a real channel."""

from __future__ import annotations

import json
import logging
import time

import anyio
import anyio.to_thread
import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.integration.transport.transport_parts import MODEL, REPORT, CountingAdmin, Served, serving

from lineside.config import GrpcConfig
from lineside.errors import REASONS, LinesideError, Reason
from lineside.ports import AuditRecord
from lineside.serving.request import Priority
from lineside.transport.grpc.server import SERVICES
from lineside.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    common_pb2,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
)

pytestmark = pytest.mark.anyio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def generate(served: Served, prompt: str = "", **fields: object):
    stub = generation_pb2_grpc.GenerationServiceStub(served.channel)
    timeout = fields.pop("timeout", None)
    return stub.Generate(generation_pb2.GenerateRequest(prompt=prompt, **fields), timeout=timeout)


def diagnose(served: Served, report: bytes = REPORT, **options: object):
    stub = diagnosis_pb2_grpc.DiagnosisServiceStub(served.channel)
    request = diagnosis_pb2.DiagnoseRequest(report_json=report, options=common_pb2.RequestOptions(**options))
    return stub.Diagnose(request)


async def failure(call) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status, message and trailing metadata of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (rest(call) if hasattr(call, "read") else call)
    error = caught.value
    return error.code(), error.details(), {key: str(value) for key, value in error.trailing_metadata()}


async def rest(call) -> list:
    """What a call whose first events were read still says."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


async def test_generate_streams_tokens_then_one_end():
    async with serving() as served:
        events = [event async for event in generate(served, "one two")]
    assert [event.token.text for event in events[:-1]] == ["one ", "two "]
    assert list(events[1].token.ids) == [1]
    end = events[-1].end
    assert end.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert end.reason == common_pb2.REASON_UNSPECIFIED
    assert (end.usage.prompt_tokens, end.usage.completion_tokens, end.usage.forced_tokens) == (7, 2, 1)
    assert (end.timings.queue_ms, end.timings.first_token_ms, end.timings.total_ms) == (1, 2, 3)
    assert end.model == MODEL


async def test_a_thought_is_asked_for_and_told_apart():
    async with serving() as served:
        events = [
            event async for event in generate(served, "!think one", thinking_tokens=0, show_thinking=True)
        ]
        await rest(generate(served, "one"))
        asked, plain = served.generator.jobs
    assert [(event.token.text, event.token.thinking) for event in events[:-1]] == [
        ("hm", True),
        ("one ", False),
    ]
    assert events[-1].end.usage.thinking_tokens == 3
    assert (asked.thinking_tokens, asked.show_thinking) == (0, True)
    assert (plain.thinking_tokens, plain.show_thinking) == (None, False)


async def test_generate_passes_on_all_that_was_asked():
    async with serving() as served:
        sampling = generation_pb2.Sampling(
            max_tokens=9, temperature=0.5, top_k=3, top_p=0.25, seed=0, stop=["\n"]
        )
        messages = [generation_pb2.ChatMessage(role="user", content="hi")]
        options = common_pb2.RequestOptions(priority=common_pb2.PRIORITY_LOW, idempotency_key="k")
        call = generate(
            served, messages=messages, sampling=sampling, options=options, json_schema='{"type":"object"}'
        )
        assert [event async for event in call]
        job = served.generator.jobs[0]
    assert (job.prompt, job.messages[0].role, job.messages[0].content) == ("", "user", "hi")
    picked = job.sampling
    assert (picked.max_tokens, picked.temperature, picked.top_k) == (9, 0.5, 3)
    assert (picked.top_p, picked.seed, picked.stop) == (0.25, 0, ("\n",))
    assert job.json_schema == '{"type":"object"}'
    assert job.call.priority is Priority.LOW
    assert job.call.idempotency_key == "k"
    assert job.call.principal.name == "grpc:127.0.0.1"


async def test_generate_without_wishes_gets_the_defaults():
    async with serving() as served:
        before = time.monotonic_ns()
        assert [event async for event in generate(served, "one")]
        job = served.generator.jobs[0]
    assert job.sampling.max_tokens == 32
    assert (job.sampling.top_p, job.sampling.seed, job.json_schema) == (1.0, None, None)
    assert job.call.priority is None
    assert 60 <= (job.call.deadline_ns - before) / 1e9 < 62


@pytest.mark.parametrize("reason", [reason for reason in Reason if REASONS[reason].grpc_status != "OK"])
async def test_each_reason_has_its_status(reason: Reason):
    async with serving() as served:
        code, message, trailing = await failure(generate(served, f"!reject:{reason.value}"))
        assert served.admin.counters[f"grpc_rejected_{reason.value}"] == 1
    assert code is grpc.StatusCode[REASONS[reason].grpc_status]
    assert message == "prompt: as ordered"
    assert trailing["lineside-reason"] == reason.value
    assert trailing["lineside-field"] == "prompt"
    assert trailing["lineside-retry-after-ms"] == "250"


async def test_who_gave_its_place_up_while_it_waited_hears_when_to_come_back():
    async with serving() as served:
        code, _, trailing = await failure(generate(served, "!abort:overload"))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert trailing["lineside-retry-after-ms"] == "250"


async def test_an_abort_is_a_status_before_the_first_token_and_an_end_after_it():
    async with serving() as served:
        code, _, trailing = await failure(generate(served, "!abort:deadline"))
        events = [event async for event in generate(served, "one !abort:engine_fault")]
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert trailing["lineside-reason"] == "deadline"
    assert events[-1].end.finish_reason == generation_pb2.FINISH_REASON_ABORTED
    assert events[-1].end.reason == common_pb2.REASON_ENGINE_FAULT
    assert events[-1].end.message == "as ordered"


@pytest.mark.parametrize("order", ["!bug", "!silent"])
async def test_our_bug_is_internal_logged_once_and_tells_no_more(
    order: str, caplog: pytest.LogCaptureFixture
):
    async with serving() as served:
        code, message, trailing = await failure(generate(served, order))
    assert code is grpc.StatusCode.INTERNAL
    assert trailing["lineside-reason"] == "internal"
    assert "Error" not in message
    assert "Traceback" not in message
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == 1
    assert records[0].exc_info is not None


async def test_cancelling_closes_the_iterator_at_once():
    async with serving() as served:
        call = generate(served, "one !wait")
        assert (await call.read()).token.text == "one "
        await served.generator.waiting.wait()
        assert served.generator.running == 1
        call.cancel()
        with anyio.fail_after(2):
            await served.generator.closed.wait()
        assert served.generator.running == 0


async def test_a_client_that_stops_reading_and_cancels_frees_the_iterator():
    async with serving() as served:
        call = generate(served, "word " * 50_000)
        await call.read()
        await anyio.sleep(0.2)  # the window fills: the server now waits inside a write
        assert served.generator.running == 1
        call.cancel()
        with anyio.fail_after(2):
            await served.generator.closed.wait()


async def test_a_closed_channel_cancels_a_diagnosis():
    async with serving() as served:

        def ask() -> grpc.Channel:
            channel = grpc.insecure_channel(served.address)
            stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
            report = b'{"dev":{"id":"a"},"alarm":{"text":"!wait"}}'
            next(stub.DiagnoseStream(diagnosis_pb2.DiagnoseRequest(report_json=report)))
            return channel

        channel = await anyio.to_thread.run_sync(ask)
        await served.diagnoser.waiting.wait()
        await anyio.to_thread.run_sync(channel.close)
        with anyio.fail_after(2):
            await served.diagnoser.closed.wait()


async def test_the_earlier_of_both_deadlines_counts():
    async with serving() as served:
        now = time.monotonic_ns()
        options = common_pb2.RequestOptions(timeout_ms=5_000)
        assert [event async for event in generate(served, "a", options=options, timeout=20)]
        options = common_pb2.RequestOptions(timeout_ms=20_000)
        assert [event async for event in generate(served, "a", options=options, timeout=5)]
        assert [event async for event in generate(served, "a", timeout=200)]
        left = [(job.call.deadline_ns - now) / 1e9 for job in served.generator.jobs]
    assert left[0] == pytest.approx(5, abs=1)
    assert left[1] == pytest.approx(5, abs=1)
    assert left[2] == pytest.approx(200, abs=2)


async def test_a_call_past_its_deadline_frees_its_slot():
    async with serving() as served:
        code, _, _ = await failure(generate(served, "one !wait", timeout=0.3))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        with anyio.fail_after(2):
            await served.generator.closed.wait()


class Records:
    payloads = False

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def record(self, record: AuditRecord) -> None:
        self.outcomes.append(record.outcome)


async def test_it_is_on_record_whether_time_ran_out_or_the_client_left():
    records = Records()
    async with serving(audit=records) as served:
        await failure(generate(served, "one !wait", timeout=0.3))
        with anyio.fail_after(5):
            while not records.outcomes:
                await anyio.sleep(0.01)
        call = generate(served, "one !wait", timeout=30)
        await call.read()
        call.cancel()
        with anyio.fail_after(5):
            while len(records.outcomes) < 2:
                await anyio.sleep(0.01)
    assert records.outcomes == ["DEADLINE_EXCEEDED", "CANCELLED"]


S = generation_pb2.Sampling
M = generation_pb2.ChatMessage
Options = common_pb2.RequestOptions


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("prompt", {}),
        ("prompt", {"prompt": "a", "messages": [M(role="user", content="b")]}),
        ("messages[1].role", {"messages": [M(role="user"), M(role="tool")]}),
        ("messages", {"messages": [M(role="user")] * 257}),
        ("json_schema", {"prompt": "a", "json_schema": "é" * 8193}),
        ("sampling.stop", {"prompt": "a", "sampling": S(stop=["x"] * 9)}),
        ("sampling.stop[1]", {"prompt": "a", "sampling": S(stop=["x", "y" * 65])}),
        ("sampling.stop[0]", {"prompt": "a", "sampling": S(stop=[""])}),
        ("sampling.temperature", {"prompt": "a", "sampling": S(temperature=2.01)}),
        ("sampling.temperature", {"prompt": "a", "sampling": S(temperature=-0.1)}),
        ("sampling.temperature", {"prompt": "a", "sampling": S(temperature=float("nan"))}),
        ("sampling.top_p", {"prompt": "a", "sampling": S(top_p=1.01)}),
        ("sampling.top_p", {"prompt": "a", "sampling": S(top_p=-1)}),
        ("sampling.top_p", {"prompt": "a", "sampling": S(top_p=float("nan"))}),
        ("sampling.top_k", {"prompt": "a", "sampling": S(top_k=2**31)}),
        ("sampling.max_tokens", {"prompt": "a", "sampling": S(max_tokens=65_537)}),
        ("options.idempotency_key", {"prompt": "a", "options": Options(idempotency_key="k" * 129)}),
        ("options.timeout_ms", {"prompt": "a", "options": Options(timeout_ms=86_400_001)}),
        ("options.priority", {"prompt": "a", "options": Options(priority=5)}),
        ("options.priority", {"prompt": "a", "options": Options(priority=-1)}),
    ],
)
async def test_a_field_out_of_bounds_is_named(field: str, fields: dict[str, object]):
    async with serving() as served:
        code, message, trailing = await failure(generate(served, **fields))
        assert served.generator.jobs == []
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["lineside-reason"] == "invalid"
    assert trailing["lineside-field"] == field
    assert message.startswith(f"{field}: ")


async def test_fields_at_their_bounds_are_taken():
    sampling = S(max_tokens=65_536, temperature=2, top_p=1, top_k=2**31 - 1, stop=["x" * 64] * 8)
    options = Options(idempotency_key="k" * 128, timeout_ms=86_400_000, priority=common_pb2.PRIORITY_CRITICAL)
    async with serving() as served:
        call = generate(served, "a", sampling=sampling, options=options, json_schema="x" * 16_384)
        assert [event async for event in call]
        assert served.generator.jobs[0].call.priority is Priority.CRITICAL


async def test_a_message_too_large_never_reaches_us():
    async with serving(GrpcConfig(port=0, max_message_bytes=1024)) as served:
        code, _, _ = await failure(generate(served, "x" * 2000))
        assert served.generator.jobs == []
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_more_calls_than_seats_hear_when_to_come_back():
    async with serving(GrpcConfig(port=0, max_in_flight=2)) as served:
        calls = [generate(served, "one !wait") for _ in range(2)]
        for call in calls:
            await call.read()
        code, _, trailing = await failure(generate(served, "one"))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailing["lineside-reason"] == "overload"
        assert int(trailing["lineside-retry-after-ms"]) > 0
        assert (await diagnosed(served))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await admin(served).GetStatus(admin_pb2.GetStatusRequest())).version == "0.1.0"
        served.generator.go.set()
        for call in calls:
            assert (await rest(call))[-1].HasField("end")
        assert [event async for event in generate(served, "one")]
        assert served.admin.counters["grpc_calls"] == 3


async def diagnosed(served: Served) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    return await failure(diagnose(served))


def admin(served: Served) -> admin_pb2_grpc.AdminServiceStub:
    return admin_pb2_grpc.AdminServiceStub(served.channel)


async def test_calls_beyond_the_headroom_are_refused_too():
    async with serving(GrpcConfig(port=0, max_in_flight=1)) as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(65)]
        for watch in watches:
            assert (await watch.read()).status == SERVING
        async with grpc.aio.insecure_channel(
            served.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as other:
            call = health_pb2_grpc.HealthStub(other).Check(health_pb2.HealthCheckRequest())
            code, _, _ = await failure(call)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()


async def test_diagnose_carries_the_document_and_what_programs_branch_on():
    async with serving() as served:
        response = await diagnose(served, priority=common_pb2.PRIORITY_HIGH)
        call = served.diagnoser.calls[0]
        assert served.diagnoser.closed.is_set()
    assert json.loads(response.diagnosis_json)["dev"] == {"id": "press-7"}
    assert response.status == diagnosis_pb2.DIAGNOSIS_STATUS_OK
    assert response.reason == common_pb2.REASON_UNSPECIFIED
    assert response.severity == "high"
    assert response.summary == "press-7 E42: Oil temperature high"
    assert call.priority is Priority.HIGH


async def test_a_diagnosis_that_is_an_error_is_still_an_answer():
    async with serving() as served:
        response = await diagnose(served, b'{"dev":{"id":"a"},"alarm":{"text":"!error"}}')
    assert response.status == diagnosis_pb2.DIAGNOSIS_STATUS_ERROR
    assert response.reason == common_pb2.REASON_OVERLOAD
    assert response.summary == "a: busy"


async def test_diagnose_stream_shows_progress_then_one_diagnosis():
    async with serving() as served:
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(served.channel)
        call = stub.DiagnoseStream(diagnosis_pb2.DiagnoseRequest(report_json=REPORT))
        events = [event async for event in call]
    assert [event.WhichOneof("event") for event in events] == ["retrieved", "text", "diagnosis"]
    entry = events[0].retrieved.entries[0]
    assert (entry.ref, entry.source, entry.title) == ("K1", "press#E42", "Oil hot")
    assert events[1].text == "because"
    assert events[2].diagnosis.severity == "high"


async def test_a_diagnoser_without_a_diagnosis_is_our_bug():
    report = b'{"dev":{"id":"a"},"alarm":{"text":"!silent"}}'
    async with serving() as served:
        assert (await failure(diagnose(served, report)))[0] is grpc.StatusCode.INTERNAL
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(served.channel)
        call = stub.DiagnoseStream(diagnosis_pb2.DiagnoseRequest(report_json=report))
        assert (await failure(call))[0] is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("report", "reason", "field"),
    [
        (b"", "invalid", "report_json"),
        (b"not json", "invalid", None),
        (b"\xff\xfe", "invalid", None),
        (b'{"dev":{"id":""},"alarm":{"code":"E"}}', "invalid", "dev.id"),
        (b'{"dev":{"id":"a"},"alarm":{}}', "invalid", "alarm"),
        (b" " * 65_537, "too_long", None),
    ],
)
async def test_a_bad_report_is_refused_by_field(report: bytes, reason: str, field: str | None):
    async with serving() as served:
        code, _, trailing = await failure(diagnose(served, report))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing["lineside-reason"] == reason
    assert trailing.get("lineside-field") == field


async def test_options_win_over_the_deadline_of_the_report():
    report = b'{"dev":{"id":"a"},"alarm":{"code":"E"},"deadline_ms":7000}'
    async with serving() as served:
        now = time.monotonic_ns()
        await diagnose(served, report)
        await diagnose(served, report, timeout_ms=3000)
        left = [(call.deadline_ns - now) / 1e9 for call in served.diagnoser.calls]
    assert left == [pytest.approx(7, abs=1), pytest.approx(3, abs=1)]


async def test_status_tells_every_fact():
    async with serving() as served:
        response = await admin(served).GetStatus(admin_pb2.GetStatusRequest())
    assert response.state == admin_pb2.SERVICE_STATE_READY
    assert (response.version, response.detail, response.uptime_s) == ("0.1.0", "all is well", 12.5)
    engine = response.engine
    assert (engine.name, engine.device, engine.model) == ("onnxruntime", "cpu", MODEL)
    assert (engine.precision, engine.slots, engine.max_seq_len) == ("int8", 4, 1024)
    assert (engine.cache_bytes, engine.running, engine.waiting) == (1 << 20, 1, 2)
    assert (engine.step_ms, engine.prefill_tokens_per_s) == (3.5, 400)
    assert (response.knowledge.version, response.knowledge.entries) == ("k1", 60)
    assert (response.broker.address, response.broker.connected) == ("127.0.0.1:1883", True)
    assert response.broker.managed
    assert (response.journal.pending, response.journal.unpublished) == (3, 4)


async def test_models_are_listed():
    async with serving() as served:
        response = await admin(served).ListModels(admin_pb2.ListModelsRequest())
    (model,) = response.models
    assert (model.name, model.architecture, model.precision) == (MODEL, "qwen2", "int8")
    assert (model.licence, model.max_seq_len, model.parameters) == ("apache-2.0", 1024, 12_345)
    assert list(model.languages) == ["en", "zh"]
    assert model.source_sha256 == "ab" * 32


async def test_a_bug_in_the_status_is_internal():
    def break_it(parts: CountingAdmin) -> None:
        parts.broken = True

    async with serving(on_admin=break_it) as served:
        code, message, _ = await failure(admin(served).GetStatus(admin_pb2.GetStatusRequest()))
    assert code is grpc.StatusCode.INTERNAL
    assert "bug of ours" not in message


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_health_of_each_service_is_watched_through_a_whole_life(service: str):
    async with serving() as served:
        await served.server.set_serving(False)
        stub = health_pb2_grpc.HealthStub(served.channel)
        request = health_pb2.HealthCheckRequest(service=service)
        assert (await stub.Check(request)).status == NOT_SERVING
        watch = stub.Watch(request)
        assert (await watch.read()).status == NOT_SERVING
        await served.server.set_serving(True)
        assert (await watch.read()).status == SERVING
        assert (await stub.Check(request)).status == SERVING
        await served.server.stop(5)
        assert (await watch.read()).status == NOT_SERVING


async def test_health_of_an_unknown_service_is_not_found():
    async with serving() as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        code, _, _ = await failure(stub.Check(health_pb2.HealthCheckRequest(service="none")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_stop_waits_for_calls_in_flight_and_refuses_new_ones():
    async with serving() as served, anyio.create_task_group() as tasks:
        call = generate(served, "one !wait two")
        await call.read()
        tasks.start_soon(served.server.stop, 10)
        while not served.server._calls._draining:
            await anyio.sleep(0.005)
        code, _, trailing = await failure(generate(served, "late"))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert trailing["lineside-reason"] == "draining"
        served.generator.go.set()
        events = await rest(call)
    assert events[0].token.text == "two "
    assert events[-1].HasField("end")


async def test_stop_ends_what_outlives_the_grace():
    async with serving() as served:
        call = generate(served, "one !wait")
        await call.read()
        begin = time.monotonic()
        await served.server.stop(0.2)
        assert time.monotonic() - begin < 3
        assert served.generator.closed.is_set()
        assert (await failure(call))[0] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


async def test_a_busy_port_is_named_with_what_to_do():
    async with serving() as served:
        with pytest.raises(LinesideError) as caught:
            async with serving(GrpcConfig(port=served.port)):
                pass
    assert f"127.0.0.1:{served.port}" in caught.value.message
    assert "[grpc]" in caught.value.hint


async def test_reflection_lists_the_services_and_their_files():
    async with serving() as served:
        stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        (listed,) = [reply async for reply in stub.ServerReflectionInfo(iter([request]))]
        names = {service.name for service in listed.list_services_response.service}
        request = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="lineside.v1.GenerationService"
        )
        (found,) = [reply async for reply in stub.ServerReflectionInfo(iter([request]))]
    assert names >= {*SERVICES, "grpc.health.v1.Health"}
    assert found.file_descriptor_response.file_descriptor_proto


async def test_bytes_that_are_no_message_are_refused():
    async with serving() as served:
        method = served.channel.unary_unary("/lineside.v1.DiagnosisService/Diagnose")
        code, message, trailing = await failure(method(b"\xff\xff\xff"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert trailing["lineside-reason"] == "invalid"
        assert "3 bytes" in message
        stream = served.channel.unary_stream("/lineside.v1.GenerationService/Generate")
        assert (await failure(stream(b"\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert served.admin.counters["grpc_rejected_invalid"] == 2
        async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 8)
        assert (await diagnose(served)).severity == "high"


async def test_on_loopback_without_a_certificate_nobody_sets_the_power():
    async with serving() as served:
        stub = admin_pb2_grpc.AdminServiceStub(served.channel)
        for request in (admin_pb2.SetPowerRequest(limit_w=9), admin_pb2.SetPowerRequest(clear=True)):
            code, message, metadata = await failure(stub.SetPower(request))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "[security] operators" in message
            assert metadata["lineside-reason"] == "forbidden"
        assert served.admin.counters["grpc_rejected_forbidden"] == 2
