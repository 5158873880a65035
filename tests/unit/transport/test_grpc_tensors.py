from __future__ import annotations

import struct

import msgspec
import pytest

from lineside.errors import RejectedError
from lineside.open_inference import open_inference_pb2 as pb
from lineside.serving.request import Priority
from lineside.transport.grpc.open_inference import read_parameters
from lineside.transport.grpc.tensors import read_text_request


def pack(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def request(**tensors: object) -> pb.ModelInferRequest:
    """A request with raw contents; bytes are BYTES, bools BOOL."""
    message = pb.ModelInferRequest()
    for name, value in tensors.items():
        kind = "BOOL" if isinstance(value, bool) else "BYTES"
        message.inputs.add(name=name, datatype=kind, shape=[1])
        message.raw_input_contents.append(bytes([value]) if isinstance(value, bool) else pack(value))
    return message


def sampling(**parameters: object) -> bytes:
    return msgspec.json.encode(parameters)


def rejected(message: pb.ModelInferRequest) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        read_text_request(message, 32)
    return caught.value


def test_text_alone_gets_the_defaults():
    asked = read_text_request(request(text_input=b"hi"), 32)
    assert (asked.text, asked.stream, asked.echo, asked.json_schema) == ("hi", False, True, None)
    assert (asked.sampling.max_tokens, asked.sampling.temperature) == (32, 0.0)
    assert asked.outputs == {"text_output", "finish_reason", "num_input_tokens", "num_output_tokens"}


def test_typed_contents_say_the_same_as_raw_ones():
    message = pb.ModelInferRequest()
    message.inputs.add(name="text_input", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(
        b"hi"
    )
    message.inputs.add(name="stream", datatype="BOOL", shape=[1]).contents.bool_contents.append(True)
    asked = read_text_request(message, 32)
    assert (asked.text, asked.stream, asked.echo) == ("hi", True, False)


@pytest.mark.parametrize(
    ("tensors", "echo"),
    [({}, True), ({"exclude_input_in_output": True}, False), ({"exclude_input_in_output": False}, True)],
)
def test_the_input_is_repeated_unless_excluded(tensors: dict[str, bool], echo: bool):
    assert read_text_request(request(text_input=b"hi", **tensors), 32).echo is echo


def test_a_stream_does_not_repeat_its_input():
    error = rejected(request(text_input=b"hi", stream=True, exclude_input_in_output=False))
    assert error.field == "exclude_input_in_output"


def test_sampling_parameters_may_be_strings():
    raw = sampling(max_tokens="5", temperature="0.5", top_k=-1, top_p=0.9, seed=3, stop="x")
    picked = read_text_request(request(text_input=b"hi", sampling_parameters=raw), 32).sampling
    assert (picked.max_tokens, picked.temperature, picked.top_k) == (5, 0.5, 0)
    assert (picked.top_p, picked.seed, picked.stop) == (0.9, 3, ("x",))


def test_a_schema_may_be_text_or_an_object():
    for schema in ('{"type":"object"}', {"type": "object"}):
        raw = sampling(json_schema=schema)
        asked = read_text_request(request(text_input=b"hi", sampling_parameters=raw), 32)
        assert asked.json_schema == '{"type":"object"}'


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"[1]", "sampling_parameters"),
        (b"{", "sampling_parameters"),
        (b"\xff", "sampling_parameters"),
        (sampling(best_of=3), "sampling_parameters"),
        (sampling(max_tokens=1.5), "sampling_parameters"),
        (sampling(max_tokens=0), "sampling_parameters.max_tokens"),
        (sampling(temperature=3), "sampling_parameters.temperature"),
        (sampling(top_p=0), "sampling_parameters.top_p"),
        (sampling(seed=-1), "sampling_parameters.seed"),
        (sampling(stop=["x"] * 9), "sampling_parameters.stop"),
        (sampling(json_schema="x" * 16_385), "sampling_parameters.json_schema"),
    ],
)
def test_bad_sampling_parameters_are_named(raw: bytes, field: str):
    assert rejected(request(text_input=b"hi", sampling_parameters=raw)).field == field


def test_tensors_that_are_not_what_they_say_are_named():
    assert rejected(pb.ModelInferRequest()).field == "text_input"
    assert rejected(request(text_input=b"")).field == "text_input"
    assert rejected(request(text_input=b"\xff")).field == "text_input"
    assert rejected(request(text_input=b"hi", image=b"x")).field == "inputs"
    assert rejected(request(text_input=True)).field == "text_input"
    message = request(text_input=b"hi")
    message.inputs[0].shape[0] = 2
    assert rejected(message).field == "text_input"
    message = request(text_input=b"hi")
    message.raw_input_contents.append(b"")
    assert rejected(message).field == "raw_input_contents"
    message = request(text_input=b"hi")
    message.outputs.add(name="logits")
    assert rejected(message).field == "outputs"


@pytest.mark.parametrize("raw", [b"", b"\1\0\0", b"\5\0\0\0abc", b"\1\0\0\0abc"])
def test_raw_bytes_have_a_length_that_fits(raw: bytes):
    message = request(text_input=b"hi")
    message.raw_input_contents[0] = raw
    assert rejected(message).field == "text_input"


def test_timeout_is_in_microseconds_and_rounds_up():
    message = pb.ModelInferRequest()
    message.parameters["timeout"].int64_param = 1_500_001
    message.parameters["priority"].uint64_param = 1
    options = read_parameters(message)
    assert options.timeout_ms == 1501
    assert options.priority is Priority.CRITICAL


@pytest.mark.parametrize(
    ("kind", "value"), [("int64_param", -1), ("string_param", "5"), ("double_param", 1.0)]
)
def test_a_timeout_that_is_none_is_named(kind: str, value: object):
    message = pb.ModelInferRequest()
    setattr(message.parameters["timeout"], kind, value)
    with pytest.raises(RejectedError) as caught:
        read_parameters(message)
    assert caught.value.field == "parameters.timeout"
