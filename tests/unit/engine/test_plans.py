"""A plan runs only on the device, with the version, and with the bytes that it was built with."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.bundles import plan_of
from tests.support.tiny import tiny_bundle

from lineside.engine.bundle import Bundle, BundleError
from lineside.engine.device import Gpu, find_gpu
from lineside.engine.plans import Target, together, usable_plans

ORIN = Gpu("Orin", "87", 8, 8 << 30, True)
HERE = Target(ORIN, "tensorrt", "10.16.2")
BOTH = (plan_of("step"), plan_of("chunk"))


def bundle_with(path, *plans) -> Bundle:
    bundle = tiny_bundle(path)
    for plan in plans:
        bundle.file(plan.file).write_bytes(b"plan")
    return Bundle(path, msgspec.structs.replace(bundle.manifest, plan=plans))


def test_plans_of_this_device(tmp_path) -> None:
    other = plan_of("step", file="other.plan", sm="110", gpu="Thor, 20 multiprocessors")
    assert usable_plans(bundle_with(tmp_path, other, *BOTH), HERE) == BOTH


def test_plans_built_elsewhere_for_any_gpu_of_a_capability(tmp_path) -> None:
    anywhere = tuple(msgspec.structs.replace(plan, gpu="") for plan in BOTH)
    assert usable_plans(bundle_with(tmp_path, *anywhere), HERE) == anywhere


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            Target(Gpu("Thor", "110", 20, 1, True), *("tensorrt", "10.16.2")),
            "capability 8.7, this is Thor with 11.0",
        ),
        (Target(Gpu("Orin", "87", 16, 1, True), *("tensorrt", "10.16.2")), "Orin, 8 .* this is Orin, 16"),
        (Target(ORIN, "tensorrt", "10.16.3"), "of tensorrt 10.16.2, here is tensorrt 10.16.3"),
        (Target(ORIN, "tensorrt_rtx", "10.16.2"), "here is tensorrt_rtx 10.16.2"),
    ],
)
def test_another_device_or_version_is_refused(tmp_path, target: Target, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        usable_plans(bundle_with(tmp_path, *BOTH), target)
    assert f"lineside-build compile {tmp_path}" in caught.value.hint


def test_damaged_or_missing_files_are_refused(tmp_path) -> None:
    bundle = bundle_with(tmp_path, *BOTH)
    bundle.file("chunk.plan").write_bytes(b"plaN")
    with pytest.raises(BundleError, match=r"chunk\.plan does not have the digest"):
        usable_plans(bundle, HERE)
    bundle.file("chunk.plan").unlink()
    with pytest.raises(BundleError, match=r"chunk\.plan is missing"):
        usable_plans(bundle, HERE)


def test_no_plan_and_half_of_them(tmp_path) -> None:
    with pytest.raises(BundleError, match="has no plan"):
        usable_plans(bundle_with(tmp_path), HERE)
    with pytest.raises(BundleError, match="no plan of role chunk"):
        usable_plans(bundle_with(tmp_path, BOTH[0]), HERE)


def test_parts_run_in_order_and_only_when_all_are_there(tmp_path) -> None:
    first, second = (plan_of("step", file=f"step.{part}.plan", part=part, parts=2) for part in range(2))
    (tmp_path / "whole").mkdir()
    found = usable_plans(bundle_with(tmp_path / "whole", second, BOTH[1], first), HERE)
    assert together(found) == [(BOTH[1],), (first, second)]
    with pytest.raises(BundleError, match=r"of the 2 parts of its step there are only step\.1\.plan"):
        usable_plans(bundle_with(tmp_path, second, BOTH[1]), HERE)


@pytest.mark.parametrize("driver", ["libcuda-that-is-not-there.so.1", "libc.so.6"])
def test_without_a_driver_there_is_no_gpu(driver: str) -> None:
    assert find_gpu(driver) is None
