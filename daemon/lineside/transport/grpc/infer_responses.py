"""Generated text as responses of the Open Inference Protocol. Knows nothing of calls or channels."""

from __future__ import annotations

import struct

from lineside.errors import RejectedError
from lineside.open_inference import open_inference_pb2 as pb
from lineside.serving.request import EndEvent
from lineside.transport.grpc.tensors import OUTPUTS, TextRequest

VERSION = "1"
FINAL = "triton_final_response"
EMPTY_FINAL = "triton_enable_empty_final_response"


def empty_response(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """A response to `request`, without tensors."""
    return pb.ModelInferResponse(model_name=request.model_name, model_version=VERSION, id=request.id)


def stream_response(
    request: pb.ModelInferRequest, values: dict[str, bytes], wanted: frozenset[str]
) -> pb.ModelStreamInferResponse:
    """One response of several."""
    response = pb.ModelStreamInferResponse(infer_response=empty_response(request))
    response.infer_response.parameters[FINAL].bool_param = False
    fill_outputs(response.infer_response, values, wanted)
    return response


def final_response(
    request: pb.ModelInferRequest, asked: TextRequest, text: str, end: EndEvent
) -> pb.ModelStreamInferResponse | None:
    """The last response. Where it would carry nothing new, only who asks for empty ones gets it."""
    values = output_values(text, end)
    if asked.stream and asked.outputs == {"text_output"}:
        if not request.parameters[EMPTY_FINAL].bool_param:
            return None
        values = {}
    response = stream_response(request, values, asked.outputs)
    response.infer_response.parameters[FINAL].bool_param = True
    return response


def error_response(request: pb.ModelInferRequest, error: RejectedError) -> pb.ModelStreamInferResponse:
    """The end of a request that failed."""
    field = f"{error.field}: " if error.field else ""
    response = pb.ModelStreamInferResponse(
        error_message=f"{error.reason.value}: {field}{error.message}", infer_response=empty_response(request)
    )
    response.infer_response.parameters[FINAL].bool_param = True
    return response


def output_values(text: str, end: EndEvent | None) -> dict[str, bytes]:
    """Output tensors by name, in raw form. Without an end there is only text."""
    values = {"text_output": pack_text(text)}
    if end is not None:
        values["finish_reason"] = pack_text(end.finish.value)
        values["num_input_tokens"] = struct.pack("<I", end.usage.prompt_tokens)
        values["num_output_tokens"] = struct.pack("<I", end.usage.completion_tokens)
    return values


def pack_text(text: str) -> bytes:
    """One BYTES element."""
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def fill_outputs(response: pb.ModelInferResponse, values: dict[str, bytes], wanted: frozenset[str]) -> None:
    """Add the wanted tensors to a response."""
    for name, raw in values.items():
        if name in wanted:
            response.outputs.add(name=name, datatype=OUTPUTS[name], shape=[1])
            response.raw_output_contents.append(raw)
