"""The Open Inference Protocol, spoken by the client that its users have."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from tests.integration.transport.mqtt_parts import in_thread
from tests.integration.transport.transport_parts import CountingAdmin, Served, serving

from lineside.config import GrpcConfig
from lineside.open_inference import open_inference_pb2 as pb
from lineside.open_inference import open_inference_pb2_grpc

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
CLIENT = "tritonclient[grpc]==2.73.0"
SCRIPT = Path(__file__).with_name("triton_script.py")


@pytest.fixture(scope="session")
def triton_python() -> Path:
    """An environment with tritonclient, which needs a protobuf older than ours may be."""
    home = ROOT / ".cache" / f"tritonclient-2.73.0-py{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    probe = [str(python), "-c", "import tritonclient.grpc"]
    if not python.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        venv.create(home, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", CLIENT], check=True)
    return python


async def run(python: Path, served: Served, scenario: str) -> dict[str, Any]:
    def wait() -> dict[str, Any]:
        command = [str(python), str(SCRIPT), served.address, scenario]
        done = subprocess.run(command, capture_output=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return await in_thread(wait)


async def test_tritonclient_infers(triton_python: Path):
    async with serving() as served:
        before = time.monotonic_ns()
        seen = await run(triton_python, served, "unary")
        job = served.generator.jobs[0]
    assert seen["all"]["id"] == "r1"
    assert seen["all"]["outputs"] == {
        "text_output": "one twoone two ",
        "finish_reason": "stop",
        "num_input_tokens": 7,
        "num_output_tokens": 2,
    }
    assert seen["quiet"]["outputs"] == {"text_output": "one two "}
    assert (job.sampling.max_tokens, job.sampling.temperature) == (5, 0.0)
    assert 0 < (job.call.deadline_ns - before) / 1e9 < 30  # 3 s from when it came, not the default's 60
    assert (seen["live"], seen["ready"], seen["model"], seen["version"]) == (True, True, True, True)
    assert seen["other"] is False
    assert seen["server"]["name"] == "lineside"
    assert seen["server"]["version"] == "0.1.0"
    assert seen["metadata"]["versions"] == ["1"]
    assert {tensor["name"]: tensor["datatype"] for tensor in seen["metadata"]["outputs"]} == {
        "text_output": "BYTES",
        "finish_reason": "BYTES",
        "num_input_tokens": "UINT32",
        "num_output_tokens": "UINT32",
    }


async def test_tritonclient_hears_why_not(triton_python: Path):
    async with serving() as served:
        seen = await run(triton_python, served, "failures")
        with anyio.fail_after(2):
            await served.generator.closed.wait()
        assert served.generator.running == 0
    statuses = {name: error[0] for name, error in seen.items()}
    assert statuses == {
        "model": "StatusCode.NOT_FOUND",
        "version": "StatusCode.NOT_FOUND",
        "stream": "StatusCode.INVALID_ARGUMENT",
        "sampling": "StatusCode.INVALID_ARGUMENT",
        "overload": "StatusCode.RESOURCE_EXHAUSTED",
        "aborted": "StatusCode.DEADLINE_EXCEEDED",
        "timeout": "StatusCode.DEADLINE_EXCEEDED",
    }
    assert "tiny" in seen["model"][1]
    assert "temperature" in seen["sampling"][1]


async def test_tritonclient_streams(triton_python: Path):
    async with serving() as served:
        seen = await run(triton_python, served, "stream")
        with anyio.fail_after(2):
            while served.generator.running:
                await anyio.sleep(0.01)
    first, second, end = seen["tokens"]
    assert first == {"id": "s1", "outputs": {"text_output": "a "}, "final": False}
    assert second["outputs"] == {"text_output": "b "}
    assert end["final"] is True
    assert end["outputs"] == {
        "text_output": "",
        "finish_reason": "stop",
        "num_input_tokens": 7,
        "num_output_tokens": 2,
    }
    (whole,) = seen["whole"]
    assert (whole["id"], whole["final"], whole["outputs"]["text_output"]) == ("s2", True, "a ba b ")
    assert sorted((answer["id"], answer["final"]) for answer in seen["final"]) == [
        ("s3", False),
        ("s4", False),
        ("s4", True),
    ]
    assert next(a for a in seen["final"] if a["final"])["outputs"] == {}
    assert seen["error"] == [{"error": "power: prompt: as ordered"}]
    assert seen["after"][0]["id"] == "s6"
    assert seen["slow"][0]["id"] == "s7"
    assert seen["beside"][0]["id"] == "s8"


def infer_request(
    prompt: bytes = b"hi", *, stream: bool = False, request_id: str = ""
) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="tiny", id=request_id)
    request.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(struct.pack("<I", len(prompt)) + prompt)
    if stream:
        request.inputs.add(name="stream", datatype="BOOL", shape=[1])
        request.raw_input_contents.append(b"\x01")
    return request


def stub(served: Served) -> open_inference_pb2_grpc.GRPCInferenceServiceStub:
    return open_inference_pb2_grpc.GRPCInferenceServiceStub(served.channel)


async def test_stream_errors_name_their_request_and_keep_the_stream_open():
    async with serving() as served:
        call = stub(served).ModelStreamInfer()
        await call.write(infer_request(b"!bug", request_id="bad"))
        failed = await call.read()
        assert failed.error_message == "internal: internal error; the daemon's log says more"
        assert failed.infer_response.id == "bad"
        assert failed.infer_response.parameters["triton_final_response"].bool_param
        await call.write(pb.ModelInferRequest(model_name="other", id="unknown"))
        failed = await call.read()
        assert failed.error_message.startswith("not_found: ")
        assert failed.infer_response.id == "unknown"
        await call.write(infer_request(b"fine", request_id="good"))
        assert (await call.read()).infer_response.id == "good"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_takes_a_seat_for_each_request():
    async with serving(GrpcConfig(port=0, max_in_flight=1)) as served:
        call = stub(served).ModelStreamInfer()
        await call.write(infer_request(b"one !wait", stream=True, request_id="first"))
        assert (await call.read()).infer_response.id == "first"
        await call.write(infer_request(request_id="second"))
        refused = await call.read()
        assert refused.infer_response.id == "second"
        assert refused.error_message.startswith("overload: ")
        served.generator.go.set()
        assert (await call.read()).infer_response.parameters["triton_final_response"].bool_param
        await call.write(infer_request(request_id="third"))
        third = await call.read()
        assert (third.infer_response.id, third.error_message) == ("third", "")
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        infer = await stub(served).ModelInfer(infer_request(request_id="fourth"))
        assert infer.id == "fourth"


async def test_requests_of_a_stream_run_side_by_side_and_stay_in_order():
    words = [b"w%d" % index for index in range(200)]
    async with serving() as served:
        call = stub(served).ModelStreamInfer()
        for index in range(20):
            await call.write(infer_request(b" ".join(words), stream=True, request_id=str(index)))
        await call.done_writing()
        got: dict[str, list[bytes]] = {}
        while (answer := await call.read()) is not grpc.aio.EOF:
            assert answer.error_message == ""
            response = answer.infer_response
            got.setdefault(response.id, []).append(response.raw_output_contents[0][4:].strip())
        assert await call.code() is grpc.StatusCode.OK
    assert got == {str(index): [*words, b""] for index in range(20)}


async def test_cancelling_a_stream_ends_all_its_requests():
    async with serving() as served:
        call = stub(served).ModelStreamInfer()
        for index in range(3):
            await call.write(infer_request(b"one !wait", stream=True, request_id=str(index)))
            await call.read()
        assert served.generator.running == 3
        call.cancel()
        with anyio.fail_after(2):
            while served.generator.running:
                await anyio.sleep(0.005)


async def test_bytes_that_are_no_message_do_not_end_a_stream():
    async with serving() as served:
        raw = served.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        call = raw()
        await call.write(b"\xff\xff")
        answer = pb.ModelStreamInferResponse.FromString(await call.read())
        assert answer.error_message.startswith("invalid: ")
        await call.write(infer_request().SerializeToString())
        answer = pb.ModelStreamInferResponse.FromString(await call.read())
        assert answer.error_message == ""
        call.cancel()


async def test_who_gave_its_place_up_hears_when_to_come_back():
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(served).ModelInfer(infer_request(b"!abort:overload"))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["lineside-retry-after-ms"] == "250"


async def test_before_there_is_a_model_nothing_is_ready():
    def unload(parts: CountingAdmin) -> None:
        parts.loaded, parts.state = (), "starting"

    async with serving(on_admin=unload) as served:
        assert (await stub(served).ServerLive(pb.ServerLiveRequest())).live
        assert not (await stub(served).ServerReady(pb.ServerReadyRequest())).ready
        assert not (await stub(served).ModelReady(pb.ModelReadyRequest(name="tiny"))).ready
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(served).ModelInfer(infer_request())
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "no model yet" in caught.value.details()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(served).ModelMetadata(pb.ModelMetadataRequest(name="tiny"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
