from __future__ import annotations

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from lineside.errors import RejectedError
from lineside.open_inference import open_inference_pb2 as pb
from lineside.ports import Call
from lineside.serving.request import Principal, Priority
from lineside.transport.grpc.infer_responses import output_values
from lineside.transport.grpc.open_inference import read_parameters
from lineside.transport.grpc.requests import ROLES, read_generate, read_options
from lineside.transport.grpc.tensors import INPUTS, read_text_request
from lineside.v1 import common_pb2, generation_pb2

CALL = Call(Principal("test", "grpc"), 0)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
UINT = st.integers(0, 2**32 - 1)
SAMPLING = st.builds(
    generation_pb2.Sampling,
    max_tokens=UINT | st.integers(0, 10),
    temperature=st.floats(width=32) | st.floats(0, 2, width=32),
    top_k=UINT,
    top_p=st.floats(width=32) | st.floats(0, 1, width=32),
    seed=st.none() | st.integers(0, 2**64 - 1),
    stop=st.lists(TEXT, max_size=10),
)
MESSAGE = st.builds(generation_pb2.ChatMessage, role=st.sampled_from(ROLES) | TEXT, content=TEXT)


@given(
    st.builds(
        generation_pb2.GenerateRequest,
        prompt=TEXT,
        messages=st.lists(MESSAGE, max_size=3),
        sampling=SAMPLING,
        json_schema=TEXT,
    )
)
def test_a_generation_is_within_bounds_or_refused_by_field(request: generation_pb2.GenerateRequest):
    try:
        job = read_generate(request, CALL, 32)
    except RejectedError as error:
        assert error.field
        return
    picked = job.sampling
    assert bool(job.prompt) != bool(job.messages)
    assert 1 <= picked.max_tokens <= 65_536
    assert 0 <= picked.temperature <= 2
    assert 0 < picked.top_p <= 1
    assert math.isfinite(picked.temperature)
    assert len(picked.stop) <= 8
    assert all(1 <= len(stop) <= 64 for stop in picked.stop)
    assert all(message.role in ROLES for message in job.messages)


@given(
    UINT, st.integers(-(2**31), 2**31 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
)
def test_options_are_within_bounds_or_refused_by_field(timeout: int, priority: int, key: str):
    wire = common_pb2.RequestOptions(timeout_ms=timeout, priority=priority, idempotency_key=key)
    try:
        options = read_options(wire)
    except RejectedError as error:
        assert error.field.startswith("options.")
        return
    assert options.timeout_ms == timeout <= 86_400_000
    assert (options.priority is None) == (priority == 0)
    assert len(options.idempotency_key) <= 128


PARAMETER = st.one_of(
    st.builds(pb.InferParameter, int64_param=st.integers(-(2**63), 2**63 - 1)),
    st.builds(pb.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
    st.builds(pb.InferParameter, string_param=TEXT),
    st.builds(pb.InferParameter),
)
TENSOR = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=st.sampled_from(list(INPUTS)) | TEXT,
    datatype=st.sampled_from(["BYTES", "BOOL", "FP32"]),
    shape=st.lists(st.integers(-2, 2), max_size=2),
)
RAW = st.binary(max_size=8) | st.binary(max_size=20).map(lambda raw: struct.pack("<I", len(raw)) + raw)


@given(st.lists(TENSOR, max_size=3), st.lists(RAW, max_size=3))
def test_any_tensors_are_text_or_refused_by_field(inputs: list[object], raw: list[bytes]):
    request = pb.ModelInferRequest(inputs=inputs, raw_input_contents=raw)
    try:
        assert read_text_request(request, 32).text
    except RejectedError as error:
        assert error.field


@given(st.dictionaries(st.sampled_from(["timeout", "priority", "other"]), PARAMETER))
def test_any_parameters_are_options_or_refused_by_field(parameters: dict[str, pb.InferParameter]):
    request = pb.ModelInferRequest(parameters=parameters)
    try:
        options = read_parameters(request)
    except RejectedError as error:
        assert error.field.startswith("parameters.")
        return
    assert 0 <= options.timeout_ms <= 86_400_000
    assert options.priority is None or options.priority in Priority


@given(TEXT)
def test_text_survives_its_tensor(text: str):
    raw = output_values(text, None)["text_output"]
    request = pb.ModelInferRequest(raw_input_contents=[raw])
    request.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    if text:
        assert read_text_request(request, 32).text == text
