"""Which of a bundle's plans may run here. Knows no TensorRT: what is here is passed in.

TensorRT itself may load a plan of a sister device and run it slowly, and trusts whatever bytes it is given: a
plan is used only where device, version and digest are the manifest's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from lineside.engine.bundle import Bundle, BundleError, Plan, sha256_file
from lineside.engine.device import Gpu


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan has to have been built for."""

    gpu: Gpu
    builder: str
    tensorrt_version: str


def usable_plans(bundle: Bundle, target: Target) -> tuple[Plan, ...]:
    """The plans for this device, their files checked. Raises BundleError with the reason and the command."""
    if not bundle.manifest.plan:
        raise _refusal(bundle, "the bundle has no plan", "compile")
    reasons = [_mismatch(plan, target) for plan in bundle.manifest.plan]
    usable = tuple(plan for plan, reason in zip(bundle.manifest.plan, reasons, strict=True) if not reason)
    if not usable:
        raise _refusal(bundle, next(filter(None, reasons)))
    for plan in usable:
        if problem := _damage(bundle, plan):
            raise _refusal(bundle, problem)
    if missing_part := next(filter(None, map(_incomplete, together(usable))), ""):
        raise _refusal(bundle, missing_part)
    roles = {plan.role for plan in usable}
    if missing := {"step", "chunk"} - roles:
        raise _refusal(bundle, f"there is no plan of role {', '.join(sorted(missing))} for this device")
    return usable


def together(plans: Sequence[Plan]) -> list[tuple[Plan, ...]]:
    """The parts of each computation, in the order in which they run; computations by role and size."""
    in_order = sorted(plans, key=lambda plan: (*plan.computation, plan.part))
    return [tuple(parts) for _, parts in itertools.groupby(in_order, lambda plan: plan.computation)]


def fitting_plans(plans: Sequence[Plan], slots: int) -> list[Plan]:
    """Steps up to the first that holds all slots, and the chunks."""
    steps = sorted((plan for plan in plans if plan.role == "step"), key=lambda plan: plan.batch)
    largest = next((plan.batch for plan in steps if plan.batch >= slots), 0)
    if not largest:
        message = f"the largest plan is for {steps[-1].batch} sequences, [engine] slots is {slots}"
        hint = f"set [engine] slots to {steps[-1].batch}, or compile with --max-batch {slots}"
        raise BundleError("load plans", message, hint)
    return [plan for plan in plans if plan.role == "chunk" or plan.batch <= largest]


def _incomplete(parts: tuple[Plan, ...]) -> str:
    """Which part is not there; empty where all are."""
    first = parts[0]
    if [plan.part for plan in parts] == list(range(first.parts)):
        return ""
    present = ", ".join(plan.file for plan in parts)
    return f"of the {first.parts} parts of its {first.role} there are only {present}"


def compile_command(bundle: Bundle) -> str:
    """What makes the plans anew, on the device that they are for."""
    return f"lineside-build compile {bundle.path}"


def _mismatch(plan: Plan, target: Target) -> str:
    """Why the plan is not for this device; empty where it is."""
    gpu = target.gpu
    if plan.sm != gpu.sm:
        here = f"this is {gpu.name} with {_dotted(gpu.sm)}"
        return f"its plans are for compute capability {_dotted(plan.sm)}, {here}"
    if plan.gpu and plan.gpu != gpu.identity:
        return f"its plans are for {plan.gpu}, this is {gpu.identity}"
    built, here = (f"{plan.builder} {plan.tensorrt_version}", f"{target.builder} {target.tensorrt_version}")
    if built != here:
        return f"its plans are of {built}, here is {here}"
    return ""


def _damage(bundle: Bundle, plan: Plan) -> str:
    file = bundle.file(plan.file)
    if not file.is_file():
        return f"{file} is missing"
    if sha256_file(file) != plan.sha256:
        return f"{file} does not have the digest that the manifest says"
    return ""


def _dotted(sm: str) -> str:
    return f"{sm[:-1]}.{sm[-1:]}"


def _refusal(bundle: Bundle, reason: str, verb: str = "compile again") -> BundleError:
    return BundleError("load plans", reason, f"{verb}, on this device: {compile_command(bundle)}")
