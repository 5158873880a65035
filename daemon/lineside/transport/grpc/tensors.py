"""Tensors of the Open Inference Protocol to a text request. Knows nothing of calls or channels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from lineside.errors import Reason, RejectedError
from lineside.open_inference import open_inference_pb2 as pb
from lineside.serving.request import Sampling
from lineside.transport.grpc.requests import check_sampling, check_schema, invalid

INPUTS = {
    "text_input": "BYTES",
    "stream": "BOOL",
    "sampling_parameters": "BYTES",
    "exclude_input_in_output": "BOOL",
    # Asked for by clients of other servers; these outputs always come.
    "return_finish_reason": "BOOL",
    "return_num_input_tokens": "BOOL",
    "return_num_output_tokens": "BOOL",
}
OUTPUTS = {
    "text_output": "BYTES",
    "finish_reason": "BYTES",
    "num_input_tokens": "UINT32",
    "num_output_tokens": "UINT32",
}


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What the tensors say. `echo`: the output begins with the input."""

    text: str
    stream: bool
    echo: bool
    sampling: Sampling
    json_schema: str | None
    outputs: frozenset[str]


def read_text_request(request: pb.ModelInferRequest, default_tokens: int) -> TextRequest:
    """The tensors of a request, each of one element."""
    values = read_tensors(request)
    text = decode_text("text_input", values.get("text_input", b""))
    if not text:
        raise invalid("text_input", "is needed")
    stream = bool(values.get("stream", False))
    exclude = values.get("exclude_input_in_output")
    if stream and exclude is False:
        raise invalid("exclude_input_in_output", "a stream never repeats its input")
    sampling, schema = read_sampling_parameters(values.get("sampling_parameters", b""), default_tokens)
    outputs = frozenset(output.name for output in request.outputs) or frozenset(OUTPUTS)
    if unknown := sorted(outputs - OUTPUTS.keys()):
        raise invalid("outputs", f"{unknown[0]} is none of {', '.join(OUTPUTS)}")
    return TextRequest(text, stream, not (stream or exclude), sampling, schema, outputs)


def read_tensors(request: pb.ModelInferRequest) -> dict[str, bytes | bool]:
    """Input tensors by name, whether raw or typed."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid("raw_input_contents", f"{len(raw)} for {len(request.inputs)} inputs")
    values: dict[str, bytes | bool] = {}
    for index, tensor in enumerate(request.inputs):
        datatype = INPUTS.get(tensor.name)
        if datatype is None:
            raise invalid("inputs", f"{tensor.name[:64]!r} is none of {', '.join(INPUTS)}")
        if tensor.datatype != datatype or math.prod(tensor.shape) != 1:
            raise invalid(tensor.name, f"one element of {datatype} is needed")
        read = read_raw(tensor, raw[index]) if raw else read_typed(tensor)
        values[tensor.name] = read
    return values


def read_raw(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes) -> bytes | bool:
    """One element in the wire's own form: a byte, or a length of four bytes and as many bytes."""
    if tensor.datatype == "BOOL" and len(raw) == 1:
        return raw != b"\0"
    if tensor.datatype == "BYTES" and len(raw) >= 4 and struct.unpack_from("<I", raw)[0] == len(raw) - 4:
        return raw[4:]
    raise invalid(tensor.name, f"its {len(raw)} raw bytes are not one element of {tensor.datatype}")


def read_typed(tensor: pb.ModelInferRequest.InferInputTensor) -> bytes | bool:
    """One element of the typed contents."""
    contents = tensor.contents
    if tensor.datatype == "BOOL" and len(contents.bool_contents) == 1:
        return contents.bool_contents[0]
    if tensor.datatype == "BYTES" and len(contents.bytes_contents) == 1:
        return contents.bytes_contents[0]
    raise invalid(tensor.name, f"its contents are not one element of {tensor.datatype}")


def read_sampling_parameters(raw: bytes | bool, default_tokens: int) -> tuple[Sampling, str | None]:
    """The JSON object of sampling parameters. Numbers may be strings, as other servers take them."""
    given: dict[str, Any] = {}
    if raw:
        try:
            given = msgspec.json.decode(decode_text("sampling_parameters", raw), type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise invalid("sampling_parameters", f"a JSON object is needed: {error}") from None
    schema = given.pop("json_schema", None)
    if schema is not None and not isinstance(schema, str):
        schema = msgspec.json.encode(schema).decode()
    if given.get("top_k") == -1:  # off, for others
        given["top_k"] = 0
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    try:
        sampling = msgspec.convert({"max_tokens": default_tokens, **given}, SamplingParameters, strict=False)
    except msgspec.ValidationError as error:
        raise invalid("sampling_parameters", str(error)) from None
    checked = check_sampling(Sampling(**msgspec.structs.asdict(sampling)), "sampling_parameters.")
    return checked, check_schema(schema, "sampling_parameters.json_schema") if schema else None


class SamplingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sampling as JSON names it."""

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


def decode_text(field: str, raw: bytes | bool) -> str:
    """UTF-8, or an error that names the field."""
    try:
        return bytes(raw).decode() if raw else ""
    except UnicodeDecodeError:
        raise RejectedError(Reason.INVALID, "is not UTF-8", field=field) from None
