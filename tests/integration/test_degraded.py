"""A daemon whose best engine cannot serve still answers, and says what to mend."""

from __future__ import annotations

import json

import grpc
import pytest
from tests.support.bundles import altered_bundle, plan_of
from tests.support.daemon import Daemon, lineside

from lineside.engine.bundle import ONNX_MODEL
from lineside.v1 import generation_pb2, generation_pb2_grpc

CODE_ONLY = {"dev": {"id": "L1/CD-07", "vendor": "Northmoor Drives"}, "alarm": {"code": "F012"}}


@pytest.fixture
def serve(tmp_path):
    """serve(bundle, state): a daemon with the demo's manuals, once it is in that state."""
    started = []

    def run(bundle, state: str, **sections) -> Daemon:
        daemon = Daemon(tmp_path / "d", bundle, **sections)
        started.append(daemon)
        daemon.import_demo()
        daemon.start(state)
        return daemon

    yield run
    for daemon in started:
        daemon.end()


def test_plans_of_another_device_are_passed_over_and_the_model_still_answers(tmp_path, serve, smollm2_bundle):
    bundle = altered_bundle(smollm2_bundle, tmp_path / "bundle", plan=(plan_of("step"), plan_of("chunk")))
    daemon = serve(bundle.path, "degraded")
    answer = daemon.ask(CODE_ONLY)
    assert (answer["status"], answer["mode"]) == ("ok", "model")
    status = json.loads(lineside("status", "--config", daemon.config).stdout)
    assert status["state"] == "degraded"
    assert "served by onnxruntime, because tensorrt: " in status["detail"]
    assert status["engine_choice"].startswith("onnxruntime: no onnxruntime-cuda: ")
    assert status["engine"]["name"] == "onnxruntime"
    assert "degraded: served by onnxruntime" in daemon.log.read_text()


def test_a_model_that_cannot_be_loaded_leaves_the_rules_which_answer(tmp_path, serve, tiny_fp32_bundle):
    bundle = altered_bundle(tiny_fp32_bundle, tmp_path / "bundle", {ONNX_MODEL: b"not a model"})
    daemon = serve(bundle.path, "degraded")
    answer = daemon.ask(CODE_ONLY)
    assert (answer["status"], answer["mode"]) == ("ok", "rules")
    assert answer["causes"]
    status = daemon.status()
    assert status.engine is None
    assert "served by rules, because onnxruntime: ONNX Runtime refuses model.onnx" in status.detail
    with pytest.raises(grpc.RpcError) as caught, grpc.insecure_channel(daemon.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        list(stub.Generate(generation_pb2.GenerateRequest(prompt="a"), timeout=20))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no model is served: rules: " in caught.value.details()


def test_rules_as_the_engine_need_no_bundle_and_are_no_trouble(tmp_path, serve):
    daemon = serve(tmp_path / "absent", "ready", engine={"name": "rules"})
    assert daemon.ask(CODE_ONLY)["mode"] == "rules"
    assert daemon.status().engine_choice == "rules: as configured by [engine] name"


def test_a_calibration_that_cannot_be_used_is_told_and_the_shipped_one_serves(tmp_path, serve):
    file = tmp_path / "calibration.toml"
    file.write_text("format = 1\n[short]\nthreshold = 7\n")
    daemon = serve(tmp_path / "absent", "degraded", diagnosis={"mode": "rules", "calibration": str(file)})
    assert daemon.ask(CODE_ONLY)["status"] == "ok"
    detail = daemon.status().detail
    assert "the calibration that is shipped is used" in detail
    assert "short" in detail
    assert "lineside eval --bundle BUNDLE --calibrate FILE" in detail
