"""The services of lineside.v1: messages to ports, events to messages. Knows nothing of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from lineside.closing import Closing
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import parse_report
from lineside.errors import Reason, RejectedError
from lineside.feedback.verdict import encode_receipt
from lineside.ports import (
    Admin,
    Diagnoser,
    DiagnosisEvent,
    FeedbackTaker,
    Generator,
    PowerSetter,
    Retrieved,
    Written,
)
from lineside.serving.request import TokenEvent
from lineside.transport.grpc.calls import CallOptions, Calls, Rpc
from lineside.transport.grpc.requests import read_generate, read_options, read_power
from lineside.transport.grpc.responses import (
    diagnosis_message,
    end_message,
    model_message,
    power_setting_message,
    retrieved_message,
    status_message,
    token_message,
)
from lineside.v1 import admin_pb2, diagnosis_pb2, generation_pb2

# ruff: noqa: N802 - the methods have the names that gRPC calls them by


class GenerationService:
    """lineside.v1.GenerationService."""

    def __init__(self, generator: Generator, admin: Admin, calls: Calls, default_tokens: int) -> None:
        self._generator = generator
        self._admin = admin
        self._calls = calls
        self._default_tokens = default_tokens

    async def Generate(self, request: generation_pb2.GenerateRequest, rpc: Rpc) -> None:
        """Token events, then one End; a status instead where nothing was written yet."""
        async with self._calls.guard(rpc):
            job = read_generate(
                request, self._calls.open(rpc, read_options(request.options)), self._default_tokens
            )
            started = False
            async with Closing(self._generator.generate(job)) as events:
                async for event in events:
                    if isinstance(event, TokenEvent):
                        await rpc.write(token_message(event))
                        started = True
                        continue
                    if event.reason and not started:
                        retry_after_ms = event.retry_after_ms
                        raise RejectedError(event.reason, event.message, retry_after_ms=retry_after_ms)
                    await rpc.write(end_message(event, served_model(self._admin)))
                    return
            raise RuntimeError("the generation ended without an end event")


class DiagnosisService:
    """lineside.v1.DiagnosisService."""

    def __init__(self, diagnoser: Diagnoser, calls: Calls) -> None:
        self._diagnoser = diagnoser
        self._calls = calls

    async def Diagnose(
        self, request: diagnosis_pb2.DiagnoseRequest, rpc: Rpc
    ) -> diagnosis_pb2.DiagnoseResponse:
        """The diagnosis alone."""
        async with self._calls.guard(rpc):
            async with Closing(self._diagnose(request, rpc)) as events:
                async for event in events:
                    if isinstance(event, Diagnosis):
                        return diagnosis_message(event)
            raise RuntimeError("the diagnoser ended without a diagnosis")

    async def DiagnoseStream(self, request: diagnosis_pb2.DiagnoseRequest, rpc: Rpc) -> None:
        """Progress, then the diagnosis."""
        async with self._calls.guard(rpc):
            async with Closing(self._diagnose(request, rpc)) as events:
                async for event in events:
                    await rpc.write(event_message(event))
                    if isinstance(event, Diagnosis):
                        return
            raise RuntimeError("the diagnoser ended without a diagnosis")

    def _diagnose(self, request: diagnosis_pb2.DiagnoseRequest, rpc: Rpc) -> AsyncIterator[DiagnosisEvent]:
        options = read_options(request.options)
        if not request.report_json:
            raise RejectedError(Reason.INVALID, "a report is needed", field="report_json")
        report = parse_report(request.report_json)
        timeout_ms = options.timeout_ms or report.deadline_ms or 0
        options = CallOptions(timeout_ms, options.priority, options.idempotency_key)
        return self._diagnoser.diagnose(report, self._calls.open(rpc, options))


class FeedbackService:
    """lineside.v1.FeedbackService."""

    def __init__(self, feedback: FeedbackTaker, calls: Calls) -> None:
        self._feedback = feedback
        self._calls = calls

    async def GiveFeedback(
        self, request: diagnosis_pb2.GiveFeedbackRequest, rpc: Rpc
    ) -> diagnosis_pb2.GiveFeedbackResponse:
        """The receipt, once the verdict is on the disk."""
        async with self._calls.guard(rpc):
            if not request.feedback_json:
                raise RejectedError(Reason.INVALID, "a verdict is needed", field="feedback_json")
            receipt = await asyncio.wrap_future(self._feedback.give(request.feedback_json))
            return diagnosis_pb2.GiveFeedbackResponse(
                receipt_json=encode_receipt(receipt), feedback_id=receipt.feedback_id
            )
        raise AssertionError("the guard ends a call that it does not let through")


class AdminService:
    """lineside.v1.AdminService. Tells under overload too: that takes no seat."""

    def __init__(self, admin: Admin, power: PowerSetter, calls: Calls) -> None:
        self._admin = admin
        self._power = power
        self._calls = calls

    async def GetStatus(self, _request: admin_pb2.GetStatusRequest, rpc: Rpc) -> admin_pb2.GetStatusResponse:
        """The daemon as it is now."""
        async with self._calls.edge(rpc):
            return status_message(self._admin.status())

    async def ListModels(
        self, _request: admin_pb2.ListModelsRequest, rpc: Rpc
    ) -> admin_pb2.ListModelsResponse:
        """What is loaded."""
        async with self._calls.edge(rpc):
            models = [model_message(facts) for facts in self._admin.models()]
            return admin_pb2.ListModelsResponse(models=models)

    async def SetPower(self, request: admin_pb2.SetPowerRequest, rpc: Rpc) -> admin_pb2.SetPowerResponse:
        """What then holds, once it is on the disk."""
        async with self._calls.guard(rpc):
            setting = self._power.set(read_power(request), self._calls.principal(rpc))
            return power_setting_message(await asyncio.wrap_future(setting))
        raise AssertionError("the guard ends a call that it does not let through")


def event_message(event: DiagnosisEvent) -> diagnosis_pb2.DiagnoseEvent:
    """One event of a streamed diagnosis."""
    if isinstance(event, Retrieved):
        return retrieved_message(event)
    if isinstance(event, Written):
        return diagnosis_pb2.DiagnoseEvent(text=event.text)
    return diagnosis_pb2.DiagnoseEvent(diagnosis=diagnosis_message(event))


def served_model(admin: Admin) -> str:
    """Name of the model that answers."""
    models = admin.models()
    return models[0].name if models else ""
