"""The bundle against this machine: whole, fitting, with plans for this device. Loads no model."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from lineside.config import Config
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.engine.bundle import (
    EMBEDDER_WEIGHTS,
    MANIFEST,
    WEIGHTS,
    Bundle,
    Manifest,
    read_manifest,
    verify,
)
from lineside.engine.cache_room import FLOAT_BYTES, HALF_BYTES, slot_bytes
from lineside.engine.choose import foreseen
from lineside.engine.device import find_gpu
from lineside.engine.plans import compile_command
from lineside.errors import LinesideError

# What the process takes beside weights and cache: Python, the runtime and its scratch.
BESIDE_BYTES = 400 << 20
# An entry that is kept fills a third of its cache at most: the rest is for the report and the answer.
ENTRY_SHARE = 3


def look(machine: Machine) -> Iterator[Finding]:
    """Manifest, files (their digests with --deep), and plans."""
    config = machine.config
    if not serves_model(config):
        yield finding("bundle.manifest", "not_applicable", "no model is served: diagnoses are by rules")
        return
    try:
        bundle = Bundle(config.bundle_path, read_manifest(config.bundle_path))
    except LinesideError as error:
        yield finding("bundle.manifest", "problem", error.message, error.hint)
        return
    manifest = bundle.manifest
    seen = f"{manifest.name}, {manifest.precision}, at most {manifest.max_seq_len} tokens"
    yield finding("bundle.manifest", "ok", seen)
    yield _files(bundle, machine.deep)
    yield _plans(bundle)


def serves_model(config: Config) -> bool:
    """Whether a bundle is loaded at all."""
    return config.diagnosis.mode != "rules" and config.engine.name != "rules"


def manifest_of(config: Config) -> Manifest | None:
    """What the served bundle says of itself; None where none is served or can be read."""
    if not serves_model(config) or not (config.bundle_path / MANIFEST).is_file():
        return None
    try:
        return read_manifest(config.bundle_path)
    except LinesideError:
        return None


def memory_needed(config: Config) -> int | None:
    """About what the daemon takes with this bundle; None where it serves none."""
    manifest = manifest_of(config)
    if manifest is None:
        return None
    engine = foreseen(Bundle(config.bundle_path, manifest), config.engine)
    each = slot_bytes(manifest, FLOAT_BYTES if engine == "onnxruntime" else HALF_BYTES)
    kept = 0 if engine == "onnxruntime-cuda" else config.engine.kept_prefixes
    caches = each * (config.engine.slots + kept)
    if engine == "onnxruntime" and config.diagnosis.by == "model":
        caches += config.engine.kept_entries * each // ENTRY_SHARE
    if config.engine.kv_budget_mb:
        caches = min(caches, config.engine.kv_budget_mb << 20)
    weights = sum(manifest.files[name].size for name in (WEIGHTS, EMBEDDER_WEIGHTS) if name in manifest.files)
    return weights + caches + BESIDE_BYTES


def _files(bundle: Bundle, deep: bool) -> Finding:
    name = "bundle.files"
    again = "copy the bundle again"
    if deep:
        try:
            verify(bundle)
        except LinesideError as error:
            return finding(name, "problem", error.message, f"{again}, or {error.hint}")
        return finding(name, "ok", "every file has its digest")
    for file, expected in bundle.manifest.files.items():
        try:
            size = bundle.file(file).stat().st_size
        except FileNotFoundError:
            return finding(name, "problem", f"{file} is missing", again)
        if size != expected.size:
            return finding(name, "problem", f"{file} has {size} bytes, not {expected.size}", again)
    return finding(name, "ok", "every file has its size; --deep compares digests")


def _plans(bundle: Bundle) -> Finding:
    name, plans = "bundle.plans", bundle.manifest.plan
    if not plans:
        return finding(name, "not_applicable", "the bundle has no TensorRT plan: ONNX Runtime serves it")
    command = f"on this device: {compile_command(bundle)}"
    gpu = find_gpu()
    if gpu is None:
        return finding(name, "warning", "it has TensorRT plans, and this process sees no GPU", command)
    fitting = [plan for plan in plans if plan.sm == gpu.sm and plan.gpu in ("", gpu.identity)]
    if not fitting:
        return finding(name, "warning", f"none of its {len(plans)} plans is for {gpu.identity}", command)
    versions = ", ".join(sorted({f"{plan.builder} {plan.tensorrt_version}" for plan in fitting}))
    seen = f"{len(fitting)} plans for {gpu.identity}, of {versions}"
    here = {plan.builder: tensorrt_version(plan.builder) for plan in fitting}
    if any(here[plan.builder] in ("", plan.tensorrt_version) for plan in fitting):
        return finding(name, "ok", seen)
    return finding(name, "warning", f"{seen}; here is {', '.join(sorted(set(here.values())))}", command)


def tensorrt_version(module: str) -> str:
    """The installed one's, without importing it; empty where no package tells."""
    packages = importlib.metadata.packages_distributions().get(module, (module,))
    try:
        return importlib.metadata.version(packages[0])
    except importlib.metadata.PackageNotFoundError:
        return ""
