"""`lineside-build compile`, and compiling at the end of a build. Knows arguments and what to print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console

from lineside.engine.bundle import Bundle, open_bundle
from lineside.engine.device import find_gpu
from lineside.engine.tensorrt_module import MODULES
from lineside_models.calibration.calibrate import Calibrator
from lineside_models.calibration.result import Calibration, Quantisation
from lineside_models.perplexity import calibration_text
from lineside_models.precision_perplexity import precision_perplexity
from lineside_models.progress import progress
from lineside_models.room import memory_available
from lineside_models.trt.accept import Cost, check_cost, texts_for
from lineside_models.trt.child import Apart, Task
from lineside_models.trt.compile import compile_plans, kept_calibration
from lineside_models.trt.decide import (
    CompileOptions,
    Decision,
    Memory,
    check_memory,
    decide,
    gigabytes,
    recounted,
)
from lineside_models.trt.devices import PRECISIONS
from lineside_models.trt.report import describe


def add_compile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its arguments."""
    parser = commands.add_parser(
        "compile", help="build a bundle's TensorRT plans, on the device they are for"
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument("--max-seq-len", type=int, default=0, help="default: the bundle's")
    parser.add_argument("--dry-run", action="store_true", help="print what would be built, and stop")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `compile` and `build --target tensorrt` share."""
    group = parser.add_argument_group("TensorRT")
    # FP4 is no choice that can succeed; naming it gets the reason.
    group.add_argument("--precision", choices=("auto", *PRECISIONS, "fp4"), default="auto")
    group.add_argument("--max-batch", type=int, default=8, help="sequences at once (default: 8)")
    group.add_argument("--workspace", type=int, default=0, metavar="MB", help="default: TensorRT's own")
    group.add_argument(
        "--opt-level", type=int, choices=range(6), default=-1, help="0 to 5; lower: faster build, less memory"
    )
    group.add_argument("--calibration", type=Path, metavar="FILE", help="prompts; default: bundled ones")
    group.add_argument(
        "--quantise-head",
        action="store_true",
        help="the vocabulary's matrix, too; else it stays in FP16",
    )
    group.add_argument(
        "--perplexity-limit", type=float, default=1.1, metavar="X", help="times fp16's (default: 1.1)"
    )
    group.add_argument("--device", default="", metavar="SM", help="such as sm89; default: the one at hand")
    group.add_argument("--builder", choices=MODULES, help="default: the first one that is installed")
    group.add_argument("--no-verify", action="store_true", help="do not run the plans beside ONNX Runtime")
    group.add_argument("--ignore-memory", action="store_true", help="compile on where memory looks too small")


def run_compile(options: argparse.Namespace, notes: Console) -> None:
    """The command."""
    bundle = open_bundle(options.bundle)
    decision, wanted = decided(bundle, options)
    if options.dry_run:
        print(describe(decision, bundle.manifest))
        return
    notes.print(describe(decision, bundle.manifest), markup=False, highlight=False, soft_wrap=True)
    if not options.ignore_memory:
        check_memory(decision)
    if decision.precision != "fp16":
        wanted = msgspec.structs.replace(wanted, calibration=_calibrated(bundle, decision, options, notes))
        decision = recounted(bundle, decision, wanted)
        if not options.ignore_memory:
            check_memory(decision)
    label = f"compiling {bundle.manifest.name}"
    with progress(notes, label, len(decision.shapes) * len(decision.parts)) as advance:
        manifest, peak = compile_plans(bundle, decision, wanted, advance)
    size = sum(plan.size for plan in manifest.plan if plan.sm == decision.capability.sm)
    notes.print(f"plan files {gigabytes(size)}, builder's peak memory {gigabytes(peak)}", highlight=False)
    print(options.bundle)


def _calibrated(
    bundle: Bundle, decision: Decision, options: argparse.Namespace, notes: Console
) -> Calibration:
    """Scales for the precision. Raises BuildError where it spoils the model."""
    precision = cast("Quantisation", decision.precision)
    calibration = None if options.calibration else kept_calibration(bundle, precision, options.quantise_head)
    if calibration:
        notes.print(f"calibration for {precision}: the bundle's own, from {', '.join(calibration.texts)}")
    else:
        calibrator = Calibrator(bundle, options.calibration)
        with progress(notes, f"calibrating for {precision}", calibrator.work) as advance:
            calibration = calibrator.run(precision, advance, head=options.quantise_head)
    costs = []
    for language in texts_for(bundle.manifest.languages):
        text = calibration_text(language)
        exact = precision_perplexity(bundle, "fp16", None, text)
        costs.append(Cost(exact, precision_perplexity(bundle, precision, calibration, text)))
        told = f"{costs[-1].rounded.perplexity:.3f} in {precision}, {exact.perplexity:.3f} in fp16"
        notes.print(f"perplexity over {text.name}: {told}", highlight=False)
    why = decision.why if options.precision == "auto" else ""
    check_cost(precision, costs, options.perplexity_limit, why)
    return calibration


def decided(bundle: Bundle, options: argparse.Namespace) -> tuple[Decision, CompileOptions]:
    """Look at TensorRT, GPU and memory of this machine, and choose."""
    wanted = CompileOptions(
        precision=options.precision,
        device=options.device,
        max_seq_len=options.max_seq_len,
        max_batch=options.max_batch,
        workspace_mb=options.workspace,
        level=options.opt_level,
        verify=not options.no_verify,
    )
    gpu = find_gpu()
    available = memory_available()
    device = None if gpu is None else (available if gpu.integrated else gpu.memory_bytes)
    with Apart(*filter(None, [options.builder])) as tensorrt:
        offer = tensorrt.run(Task()).offer
    assert offer
    return decide(bundle, wanted, offer, gpu, Memory(available, device)), wanted
