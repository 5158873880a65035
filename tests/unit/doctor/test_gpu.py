"""TensorRT and the CUDA driver: what is said of each where it is wanted, and where it is not."""

import importlib.metadata
import importlib.util

import pytest
from tests.support import boards
from tests.support.tiny import tiny_bundle
from tests.unit.doctor.test_checks import write_manifest

from lineside.config import BundleConfig, Config, EngineConfig
from lineside.doctor import bundle, gpu
from lineside.doctor.machine import Machine
from lineside.engine.bundle import Plan
from lineside.engine.device import Gpu, cuda_version

ORIN = Gpu("Orin", "87", 8, 8 << 30, True)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Neither TensorRT nor a GPU, whatever this machine has."""
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda _: None)
    for module in (gpu, bundle):
        monkeypatch.setattr(module, "find_gpu", lambda: None)


def states(machine):
    return [found.state for found in gpu.look(machine)]


def planned(made, **facts):
    facts = {"sm": "87", "tensorrt_version": "10.3.0"} | facts
    plan = Plan("step.plan", "step", 1, 1, 64, "int8", sha256="0" * 64, **facts)
    import msgspec

    whole = msgspec.structs.replace(made.manifest, plan=(plan,))
    write_manifest(type(made)(made.path, whole))
    return Machine(Config(bundle=BundleConfig(str(made.path))), made.path)


def test_what_is_missing_matters_where_it_is_wanted(tmp_path):
    rules = EngineConfig(name="rules")
    assert states(Machine(Config(engine=rules), tmp_path)) == ["not_applicable"] * 2
    boards.write(tmp_path / "orin/etc/nv_tegra_release", "# R36")
    assert states(Machine(Config(engine=rules), tmp_path / "orin")) == ["note"] * 2
    asked = Config(engine=EngineConfig(name="tensorrt"))
    assert states(Machine(asked, tmp_path)) == ["problem"] * 2
    assert states(planned(tiny_bundle(tmp_path / "bundle"))) == ["warning"] * 2


def test_what_is_there_is_named_with_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name == "tensorrt" or None)
    monkeypatch.setattr(gpu, "tensorrt_version", lambda _: "10.3.0")
    monkeypatch.setattr(gpu, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(gpu, "cuda_version", lambda: "12.6")
    boards.write(tmp_path / "sys/module/nvidia/version", "580.82.07")
    found = list(gpu.look(Machine(Config(), tmp_path)))
    assert [each.seen for each in found] == [
        "tensorrt 10.3.0",
        "Orin, 8 multiprocessors, compute capability 8.7, CUDA 12.6, driver 580.82.07",
    ]
    assert found[1].values == {"cuda": "12.6", "driver": "580.82.07"}


@pytest.mark.parametrize(
    ("facts", "here", "expected"),
    [
        ({}, "10.3.0", ("ok", "1 plans for Orin, 8 multiprocessors, of tensorrt 10.3.0")),
        ({}, "", ("ok", "1 plans for")),
        ({}, "10.7.0", ("warning", "of tensorrt 10.3.0; here is 10.7.0")),
        ({"sm": "86"}, "10.3.0", ("warning", "none of its 1 plans is for Orin")),
        ({"gpu": "Orin, 16 multiprocessors"}, "10.3.0", ("warning", "none of its 1 plans")),
    ],
)
def test_plans_are_held_against_gpu_and_tensorrt(tmp_path, monkeypatch, facts, here, expected):
    machine = planned(tiny_bundle(tmp_path / "bundle"), **facts)

    def plans():
        return next(each for each in bundle.look(machine) if each.name == "bundle.plans")

    assert "sees no GPU" in plans().seen
    monkeypatch.setattr(bundle, "find_gpu", lambda: ORIN)
    monkeypatch.setattr(bundle, "tensorrt_version", lambda _: here)
    found, (state, told) = plans(), expected
    assert found.state == state
    assert told in found.seen
    assert ("lineside-build compile" in found.todo) == (state == "warning")


def test_versions_are_told_by_packages():
    assert bundle.tensorrt_version("numpy") == importlib.metadata.version("numpy")
    assert bundle.tensorrt_version("yaml") == importlib.metadata.version("pyyaml"), "of another name"
    assert bundle.tensorrt_version("no_such_module") == ""


def test_a_driver_that_is_none():
    assert cuda_version("libnone.so.1") == ""
    assert cuda_version("libm.so.6") == ""
