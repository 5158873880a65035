"""inference.GRPCInferenceService, for clients of other model servers. Knows no tensor's bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from lineside.closing import Closing
from lineside.errors import Reason, RejectedError
from lineside.open_inference import open_inference_pb2 as pb
from lineside.ports import Admin, GenerateJob, Generator
from lineside.serving.request import EndEvent, Event, Priority
from lineside.transport.grpc.calls import MAX_TIMEOUT_MS, CallOptions, Calls, Rpc
from lineside.transport.grpc.infer_responses import (
    VERSION,
    empty_response,
    error_response,
    fill_outputs,
    final_response,
    output_values,
    stream_response,
)
from lineside.transport.grpc.malformed import Malformed
from lineside.transport.grpc.requests import invalid
from lineside.transport.grpc.tensors import INPUTS, OUTPUTS, TextRequest, read_text_request

# ruff: noqa: N802 - the methods have the names that gRPC calls them by

# Requests of one stream that are read before an earlier one has ended.
MAX_STREAM_REQUESTS = 256

Send = Callable[[pb.ModelStreamInferResponse], Awaitable[None]]


class OpenInferenceService:
    """Text in, text out, as tensors."""

    def __init__(self, generator: Generator, admin: Admin, calls: Calls, default_tokens: int) -> None:
        self._generator = generator
        self._admin = admin
        self._calls = calls
        self._default_tokens = default_tokens

    async def ServerLive(self, _request: pb.ServerLiveRequest, _rpc: Rpc) -> pb.ServerLiveResponse:
        """It answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, _request: pb.ServerReadyRequest, rpc: Rpc) -> pb.ServerReadyResponse:
        """Whether it takes requests."""
        async with self._calls.edge(rpc):
            return pb.ServerReadyResponse(ready=self._ready())

    async def ModelReady(self, request: pb.ModelReadyRequest, rpc: Rpc) -> pb.ModelReadyResponse:
        """Whether it takes requests for this model. One that it does not know is not ready."""
        async with self._calls.edge(rpc):
            ready = self._ready() and self._serves(request.name, request.version)
            return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, _request: pb.ServerMetadataRequest, rpc: Rpc) -> pb.ServerMetadataResponse:
        """Name and version."""
        async with self._calls.edge(rpc):
            return pb.ServerMetadataResponse(name="lineside", version=self._admin.status().version)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, rpc: Rpc) -> pb.ModelMetadataResponse:
        """The tensors of a model."""
        async with self._calls.edge(rpc):
            self._check_model(request.name, request.version)
            tensor = pb.ModelMetadataResponse.TensorMetadata
            return pb.ModelMetadataResponse(
                name=request.name,
                versions=[VERSION],
                platform="lineside",
                inputs=[tensor(name=name, datatype=kind, shape=[1]) for name, kind in INPUTS.items()],
                outputs=[tensor(name=name, datatype=kind, shape=[1]) for name, kind in OUTPUTS.items()],
            )

    async def ModelInfer(self, request: pb.ModelInferRequest, rpc: Rpc) -> pb.ModelInferResponse:
        """The whole text in one response."""
        async with self._calls.guard(rpc):
            asked = self._read(request)
            if asked.stream:
                raise invalid("stream", "ModelInfer gives one response: use ModelStreamInfer")
            text, end = "", None
            async with Closing(self._generate(request, asked, rpc)) as events:
                async for event in events:
                    if isinstance(event, EndEvent):
                        end = ended(event)
                        break
                    text += event.text
            if end is None:
                raise RuntimeError("the generation ended without an end event")
            response = empty_response(request)
            fill_outputs(
                response, output_values(asked.text + text if asked.echo else text, end), asked.outputs
            )
            return response

    async def ModelStreamInfer(self, requests: AsyncIterator[pb.ModelInferRequest], rpc: Rpc) -> None:
        """Requests side by side. One that fails says so in its own response, and the stream stays open."""
        one_at_a_time = anyio.Lock()
        room = anyio.Semaphore(MAX_STREAM_REQUESTS)

        async def send(response: pb.ModelStreamInferResponse) -> None:
            async with one_at_a_time:
                await rpc.write(response)

        async def answer(request: pb.ModelInferRequest) -> None:
            try:
                await self._answer(request, rpc, send)
            finally:
                room.release()

        async with self._calls.edge(rpc), anyio.create_task_group() as tasks:
            async for request in requests:
                if isinstance(request, Malformed):
                    rejection = self._calls.rejection(request.rejection())
                    await send(error_response(pb.ModelInferRequest(), rejection))
                    continue
                await room.acquire()
                tasks.start_soon(answer, request, name=f"ModelStreamInfer {request.id}")

    async def _answer(self, request: pb.ModelInferRequest, rpc: Rpc, send: Send) -> None:
        try:
            # A stream may outlive the certificate that it was opened with.
            self._calls.check_standing(rpc)
            self._calls.take()
            try:
                await self._stream(request, rpc, send)
            finally:
                self._calls.give_back()
        except Exception as error:  # noqa: BLE001 - what fails is this request, not the stream
            if not rpc.cancelled():
                await send(error_response(request, self._calls.rejection(error)))

    async def _stream(self, request: pb.ModelInferRequest, rpc: Rpc, send: Send) -> None:
        asked = self._read(request)
        text = asked.text if asked.echo else ""
        async with Closing(self._generate(request, asked, rpc)) as events:
            async for event in events:
                if isinstance(event, EndEvent):
                    if response := final_response(request, asked, text, ended(event)):
                        await send(response)
                    return
                if not asked.stream:
                    text += event.text
                elif "text_output" in asked.outputs:
                    await send(stream_response(request, output_values(event.text, None), asked.outputs))
        raise RuntimeError("the generation ended without an end event")

    def _read(self, request: pb.ModelInferRequest) -> TextRequest:
        self._check_model(request.model_name, request.model_version)
        return read_text_request(request, self._default_tokens)

    def _generate(self, request: pb.ModelInferRequest, asked: TextRequest, rpc: Rpc) -> AsyncIterator[Event]:
        call = self._calls.open(rpc, read_parameters(request))
        job = GenerateJob(call, asked.text, sampling=asked.sampling, json_schema=asked.json_schema)
        return self._generator.generate(job)

    def _ready(self) -> bool:
        return self._admin.status().state in ("ready", "degraded")

    def _serves(self, name: str, version: str) -> bool:
        return version in ("", VERSION) and any(model.name == name for model in self._admin.models())

    def _check_model(self, name: str, version: str) -> None:
        if not self._serves(name, version):
            known = ", ".join(model.name for model in self._admin.models()) or "no model yet"
            message = f"unknown model {name[:128]!r} version {version[:32]!r}; this daemon serves {known}"
            raise RejectedError(Reason.NOT_FOUND, message, field="model_name")


def read_parameters(request: pb.ModelInferRequest) -> CallOptions:
    """Timeout in microseconds, and priority, 1 being the most urgent. Others are not ours."""
    timeout_us = read_integer(request, "timeout", MAX_TIMEOUT_MS * 1000)
    priority = read_integer(request, "priority", len(Priority))
    return CallOptions(
        timeout_ms=-(-timeout_us // 1000), priority=Priority(priority - 1) if priority else None
    )


def read_integer(request: pb.ModelInferRequest, name: str, largest: int) -> int:
    """An integer parameter; 0 where it is not given."""
    if name not in request.parameters:
        return 0
    parameter = request.parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else -1
    if not 0 <= value <= largest:
        raise invalid(f"parameters.{name}", f"an integer between 0 and {largest} is needed")
    return int(value)


def ended(event: EndEvent) -> EndEvent:
    """The end of a generation that was carried out; an aborted one is an error here."""
    if event.reason is not None:
        raise RejectedError(event.reason, event.message, retry_after_ms=event.retry_after_ms)
    return event
