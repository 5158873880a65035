"""An engine that fails in a step, whose thread dies, or that ends the process: a real daemon and model."""

from __future__ import annotations

import contextlib
import json
import signal

import grpc
import pytest
from tests.faults.conftest import report, until
from tests.integration.transport.mqtt_parts import device
from tests.support.daemon import lineside
from tests.unit.models.tiny_checkpoints import TOKENS

from lineside.transport.grpc import client
from lineside.v1 import generation_pb2, generation_pb2_grpc

# While a switch is there, ONNX Runtime fails as it does without memory, or the scheduler has a bug.
FAILS = """\
import os
import onnxruntime
from lineside.serving.scheduler import Scheduler

NO_MEMORY = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException("[ONNXRuntimeError] : 6 : no memory")

def failing(place, name, switch, error):
    real = getattr(place, name)
    def run(*arguments):
        if os.path.exists(os.path.join(os.environ["LINESIDE_TEST_SWITCHES"], switch)):
            raise error
        return real(*arguments)
    setattr(place, name, run)

failing(onnxruntime.InferenceSession, "run_with_iobinding", "fault", NO_MEMORY)
failing(Scheduler, "plan", "bug", ZeroDivisionError("a bug of ours"))
"""


def generate(daemon) -> str:
    """Some text."""
    with client.open_channel(daemon.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        sampling = generation_pb2.Sampling(max_tokens=4)
        request = generation_pb2.GenerateRequest(prompt="a", sampling=sampling)
        return "".join(event.token.text for event in stub.Generate(request, timeout=10))


@pytest.fixture
def failing(plant, hooked, tiny_fp32_bundle):
    """A daemon that serves a model, and the switches that make its engine fail."""
    switches = hooked(FAILS)
    daemon = plant(bundle=tiny_fp32_bundle, diagnosis={"mode": "auto"})
    daemon.start()
    return daemon, switches


def test_a_step_that_fails_ends_its_requests_and_the_next_is_served(failing):
    daemon, switches = failing
    (switches / "fault").touch()
    with pytest.raises(grpc.RpcError) as failed:
        generate(daemon)
    assert dict(failed.value.trailing_metadata())["lineside-reason"] == "engine_fault"
    assert daemon.ask(report("beside"))["status"] == "ok"
    (switches / "fault").unlink()
    generate(daemon)
    assert daemon.status().engine.running == 0
    assert "engine fault: " in daemon.log.read_text()


def test_an_engine_whose_thread_dies_ends_the_daemon_for_its_supervisor_to_start_again(failing):
    daemon, switches = failing
    (switches / "bug").touch()
    with contextlib.suppress(grpc.RpcError):
        generate(daemon)
    until(lambda: daemon.process.poll() is not None)
    assert daemon.process.returncode == 1
    assert "run engine: ZeroDivisionError" in daemon.log.read_text()
    (switches / "bug").unlink()
    daemon.start()
    generate(daemon)
    assert daemon.ask(report("after"))["status"] == "ok"


# No manual has it: the engine's process ends where a prompt does.
DEADLY = "^"
KILLS = f"""\
import os, signal
from lineside.engine.onnxruntime import OnnxRuntimeEngine

real = OnnxRuntimeEngine.forward

def forward(self, batch):
    if any({TOKENS.index(DEADLY)} in extension.tokens for extension in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)

OnnxRuntimeEngine.forward = forward
"""


def test_a_report_that_kills_the_daemon_three_times_is_set_aside_and_the_others_go_on(
    plant, hooked, reader, own_broker
):
    hooked(KILLS)
    daemon = plant(
        bundle=reader,
        diagnosis={"mode": "model"},
        engine={"slots": 1},
        mqtt={"broker": "external", "port": own_broker},
    )
    daemon.mqtt_port = own_broker
    daemon.start()
    with device(own_broker, "lineside/v1/diagnosis/#") as listener:
        deadly = report("deadly")
        deadly["alarm"]["text"] = f"Overtemperature {DEADLY}"
        daemon.publish(deadly)
        daemon.publish(report("behind", "F007"))
        for _ in range(3):
            assert daemon.process.wait(30) == -signal.SIGKILL
            daemon.launch()
        answers = {
            one["id"]: one for one in (json.loads(listener.wait(seconds=30).payload) for _ in range(2))
        }
    assert (answers["deadly"]["status"], answers["deadly"]["reason"]) == ("error", "poison")
    assert (answers["behind"]["status"], answers["behind"]["mode"]) == ("ok", "model")
    assert daemon.process.poll() is None
    (line,) = lineside("journal", "list", "--config", daemon.config, "--state", "poison").stdout.splitlines()
    number, state, _, name, *_ = line.decode().split()
    assert (state, name) == ("poison", "L1/CD-07")
    kept = json.loads(lineside("journal", "show", "--config", daemon.config, number).stdout)
    assert kept["report"] == deadly
