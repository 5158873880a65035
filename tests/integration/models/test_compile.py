"""`lineside-build compile` with the real builder of TensorRT for RTX, without a GPU; what ends it badly."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import onnx
import pytest
from tests.support.bundles import altered_bundle, plan_of

from lineside.engine.bundle import Bundle, FileDigest, open_bundle, sha256_file
from lineside.engine.tensorrt_module import find_tensorrt
from lineside_models.calibration.result import HEADS, Calibration, Point, load_calibration
from lineside_models.graph import in_groups, layer_by_layer
from lineside_models.trt import compile as compiling
from lineside_models.trt.builder import Workshop
from lineside_models.trt.child import Apart, Outcome, Task
from lineside_models.trt.compile import calibration_file, compile_plans, kept_calibration
from lineside_models.trt.decide import CompileOptions, Memory, decide

COMMAND = (Path(sys.executable).parent / "lineside-build", "compile")
FOR_SM86 = ("--device", "sm86", "--max-batch", "2")
# Enough for the command and to ask TensorRT what it offers, too little for a build.
TOO_LITTLE_BYTES = 340 << 20


@pytest.fixture
def bundle(tmp_path, tiny_fp32_bundle) -> Path:
    """A bundle that has a plan for a device of another kind."""
    path = altered_bundle(tiny_fp32_bundle, tmp_path / "bundle", plan=(plan_of("step"),)).path
    (path / "step.plan").write_bytes(b"plan")
    (path / "note.txt").write_text("the operator's own")
    return path


def compile_(bundle: Path, *options: object, **how: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, bundle, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **how)


def listing(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): sha256_file(p) for p in directory.rglob("*") if p.is_file()}


def test_plans_are_built_and_the_manifest_tells(bundle) -> None:
    before = {path.name: path.stat().st_ino for path in bundle.iterdir()}
    done = compile_(bundle, *FOR_SM86)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(bundle)
    other, *plans = open_bundle(bundle).manifest.plan
    assert other == plan_of("step"), "a plan for another device stays"
    assert [(p.role, p.batch, p.chunk, p.max_seq_len) for p in plans] == [
        ("step", 1, 1, 64),
        ("step", 2, 1, 64),
        ("chunk", 1, 64, 64),
    ]
    trt = find_tensorrt("tensorrt_rtx")
    for plan in plans:
        assert (plan.precision, plan.sm, plan.gpu, plan.verified_on) == ("fp16", "86", "", "")
        assert (plan.builder, plan.tensorrt_version) == ("tensorrt_rtx", trt.version)
        assert (bundle / plan.file).stat().st_size == plan.size
        assert sha256_file(bundle / plan.file) == plan.sha256
    for name in ("weights.safetensors", "model.onnx", "step.plan", "note.txt"):
        assert (bundle / name).stat().st_ino == before[name], f"{name} was copied"
    kept = {*before, "timing.sm86.tensorrt_rtx.cache", *(plan.file for plan in plans)}
    assert {path.name for path in bundle.iterdir()} == kept
    assert [path.name for path in bundle.parent.iterdir() if path.name.startswith(".")] == []


def test_a_plan_in_parts_is_built_by_one_builder(bundle) -> None:
    """As on TensorRT 8.6; TensorRT for RTX has no need of it."""
    opened, options = open_bundle(bundle), CompileOptions(device="sm86", max_batch=1)
    with Apart("tensorrt_rtx") as tensorrt:
        offer = tensorrt.run(Task()).offer
    whole = decide(opened, options, offer, None, Memory(None, None))
    in_parts = msgspec.structs.replace(whole, lowering="plain", parts=layer_by_layer(2))
    built: list[int] = []
    manifest, peak_bytes = compile_plans(opened, in_parts, options, built.append)
    assert built == [1] * 6
    assert peak_bytes > 100 << 20
    assert [(plan.file, plan.part, plan.parts, plan.repeats) for plan in manifest.plan[1:]] == [
        (f"{role}.{part + 1}-of-3.fp16.sm86.plan", part, 3, repeats)
        for role in ("step-1", "chunk-64")
        for part, repeats in enumerate((1, 2, 1))
    ]
    assert len({plan.sha256 for plan in manifest.plan}) == 7


@pytest.mark.parametrize("head", [False, True])
def test_what_a_precision_does_not_round_quantised_plans_share(bundle, monkeypatch, head: bool) -> None:
    graphs = []

    class Reading(Apart):
        """A builder's place, where what it is to build is looked at."""

        def run(self, task: Task) -> Outcome:
            job = task.job
            graph = onnx.load(job.onnx, load_external_data=False).graph
            shared = {one.name for one in graph.input if one.name.startswith("weights.")}
            rounds = any(node.op_type == "QuantizeLinear" for node in graph.node)
            graphs.append((job.precision, shared, rounds))
            return super().run(task)

    opened = open_bundle(bundle)
    with Apart("tensorrt_rtx") as tensorrt:
        offer = tensorrt.run(Task()).offer
    matrices = [f"layers.{n}.{m}" for n in range(2) for m in ("qkv", "o_proj", "gate_up", "down_proj")]
    points = {matrix: Point(largest=4.0) for matrix in matrices + ["embed"] * head}
    calibration = Calibration(precision="int8", weights_sha256="", texts=(), tokens=1, points=points)
    options = CompileOptions(device="sm86", max_batch=1, precision="int8", calibration=calibration)
    whole = decide(opened, options, offer, None, Memory(None, None))
    in_parts = msgspec.structs.replace(whole, lowering="plain", parts=in_groups(2, 1))
    monkeypatch.setattr(compiling, "Apart", Reading)
    compile_plans(opened, in_parts, options, lambda _: None)
    table, layer = ("fp16", {"weights.embed"}, False), ("int8", set(), True)
    assert graphs == [table, layer, layer, layer if head else table] * 2


def test_compiling_again_replaces_the_plans_of_that_device(bundle) -> None:
    assert compile_(bundle, *FOR_SM86).returncode == 0
    link = bundle.with_name("link")
    link.symlink_to(bundle)
    done = compile_(link, "--device", "sm86", "--max-batch", 1, "--opt-level", 0, "--workspace", 64)
    assert done.returncode == 0, done.stderr
    names = [plan.file for plan in open_bundle(bundle).manifest.plan]
    assert names == ["step.plan", "step-1.fp16.sm86.plan", "chunk-64.fp16.sm86.plan"]
    assert not (bundle / "step-2.fp16.sm86.plan").exists()
    assert link.is_symlink()


def test_a_calibration_is_kept_and_used_again(tmp_path) -> None:
    from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

    source, bundle = write_gguf(tmp_path / "tiny.gguf", Tiny("qwen2")), tmp_path / "bundle"
    build = [COMMAND[0], "build", source, "--output", bundle, "--max-seq-len", "128"]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    options = (*FOR_SM86, "--opt-level", 0, "--precision", "int8", "--perplexity-limit", 100)
    name, own = "calibration.int8.json", "the bundle's own"
    first = compile_(bundle, *options)
    assert first.returncode == 0, first.stderr
    assert own not in first.stderr
    assert "perplexity over calibration.en.txt" in first.stderr
    kept = open_bundle(bundle).manifest.files[name]
    assert kept.sha256 == sha256_file(bundle / name)
    again = compile_(bundle, *options)
    assert (again.returncode, own in again.stderr) == (0, True)
    assert not HEADS & load_calibration(bundle / name).points.keys()
    head = compile_(bundle, *options, "--quantise-head")
    assert (head.returncode, own in head.stderr) == (0, False), head.stderr
    assert HEADS & load_calibration(bundle / name).points.keys()
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("The pump hums and stops. " * 400, "utf-8")
    before = (bundle / name).stat().st_ino
    anew = compile_(bundle, *options, "--calibration", prompts)
    assert (anew.returncode, own in anew.stderr) == (0, False), anew.stderr
    assert (bundle / name).stat().st_ino != before
    assert open_bundle(bundle).manifest.files[name].sha256 == sha256_file(bundle / name) != kept.sha256


def test_a_calibration_of_other_weights_is_not_used(tiny_fp32_bundle, tmp_path) -> None:
    opened = open_bundle(tiny_fp32_bundle)
    path, digest = tmp_path / calibration_file("int8"), opened.manifest.files["weights.safetensors"].sha256
    for weights, used in ((digest, True), ("0" * 64, False)):
        Calibration(precision="int8", weights_sha256=weights, texts=(), tokens=1, points={}).save(path)
        files = opened.manifest.files | {path.name: FileDigest(sha256_file(path), path.stat().st_size)}
        manifest = msgspec.structs.replace(opened.manifest, files=files)
        assert bool(kept_calibration(Bundle(tmp_path, manifest), "int8")) == used
    assert kept_calibration(opened, "int8") is None


def test_a_dry_run_says_what_it_would_do_and_does_nothing(bundle) -> None:
    before = listing(bundle.parent)
    done = compile_(bundle, *FOR_SM86, "--dry-run")
    assert done.returncode == 0
    for word in ("precision   fp16: ", "8.6 (RTX 30", "plan files  about", "available here", "steps of 1, 2"):
        assert word in done.stdout
    assert listing(bundle.parent) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "sm87", "--precision", "fp8"), "8.7 (Jetson Orin) has no FP8"),
        (("--device", "sm87"), "does not build for 8.7 (Jetson Orin) on this machine"),
        ((), "the CUDA driver shows no GPU here"),
        (("--builder", "tensorrt", "--device", "sm86"), "no TensorRT can be imported"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_to_do(bundle, options, message: str) -> None:
    done = compile_(bundle, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert "what to do" in done.stderr
    assert "Traceback" not in done.stderr


def test_out_of_memory_leaves_the_old_bundle(bundle) -> None:
    before = listing(bundle.parent)
    limit = (TOO_LITTLE_BYTES, TOO_LITTLE_BYTES)
    done = compile_(bundle, *FOR_SM86, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))
    assert done.returncode == 1
    assert "error: build plan: " in done.stderr
    assert "memory" in done.stderr.partition("what to do")[2]
    assert listing(bundle.parent) == before
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ended_while_it_builds_it_leaves_the_old_bundle_and_no_process(bundle, how: signal.Signals) -> None:
    before = listing(bundle)
    process = subprocess.Popen(
        [*COMMAND, bundle, *FOR_SM86], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = bundle.with_name(".bundle.partial")
    while not list(partial.glob("*.sm86.plan")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert listing(bundle) == before
    deadline = time.monotonic() + 10
    while _session_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _session_lives(process.pid), "the builder outlived the command"
    assert compile_(bundle, *FOR_SM86).returncode == 0
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle"}


def _session_lives(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_damaged_bundle_is_not_compiled(bundle) -> None:
    (bundle / "model.onnx").unlink()
    done = compile_(bundle, *FOR_SM86)
    assert done.returncode == 1
    assert "model.onnx is missing" in done.stderr


def test_build_and_compile_in_one_go(tmp_path) -> None:
    from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

    source = write_gguf(tmp_path / "tiny.gguf", Tiny("qwen2"))
    command = [COMMAND[0], "build", source, "--output", tmp_path / "b", "--max-seq-len", "64"]
    subprocess.run(
        [*command, "--target", "tensorrt", *FOR_SM86], check=True, capture_output=True, timeout=120
    )
    assert [plan.role for plan in open_bundle(tmp_path / "b").manifest.plan] == ["step", "step", "chunk"]


def test_what_the_builder_offers_is_asked_of_it_and_not_read_from_its_version() -> None:
    trt = find_tensorrt("tensorrt_rtx")
    offer = Workshop(trt).offer()
    assert (offer.strongly_typed, offer.native) == (True, True)
    assert set(offer.precisions) == {"fp16", "fp8", "int8", "int4"}
    assert {"86", "89", "120"} <= set(offer.targets)
