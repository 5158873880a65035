"""From a decision to a bundle with plans, whole or not at all. Knows no terminal."""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from lineside.engine.bundle import MANIFEST, WEIGHTS, Bundle, FileDigest, Manifest, Plan, sha256_file
from lineside_models.bundle_writer import whole_directory
from lineside_models.calibration.result import HEADS, Calibration, load_calibration
from lineside_models.graph import Precision, TrtShape, WeightsAs, lower_trt_native, lower_trt_plain
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.safetensors_file import read_safetensors
from lineside_models.toml import to_toml
from lineside_models.trt.builder import Job
from lineside_models.trt.child import Apart, Task
from lineside_models.trt.decide import CompileOptions, Decision, shares_weights
from lineside_models.trt.verify import verify

_GRAPH, _CACHE = "plan.onnx", "timing"


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of one shape's plan."""

    shape: TrtShape
    part: int

    def file(self, decision: Decision) -> str:
        """Its plan's name."""
        shape, parts = self.shape, len(decision.parts)
        size = shape.batch if shape.role == "step" else shape.tokens
        part = f".{self.part + 1}-of-{parts}" if parts > 1 else ""
        return f"{shape.role}-{size}{part}.{decision.precision}.sm{decision.capability.sm}.plan"


def compile_plans(
    bundle: Bundle, decision: Decision, options: CompileOptions, advance: Callable[[int], None]
) -> tuple[Manifest, int]:
    """Build every plan, all its parts, and put them into the bundle.

    Returns its manifest, and the builders' peak memory. Plans for other devices stay; those for this compute
    capability are replaced. `advance` hears of each one. Those for the device at hand are compared with ONNX
    Runtime first, unless that is not wanted.
    """
    sm, peak = decision.capability.sm, 0
    kept = tuple(plan for plan in bundle.manifest.plan if plan.sm != sm)
    replaced = {plan.file for plan in bundle.manifest.plan} - {plan.file for plan in kept}
    calibration = options.calibration
    if calibration:
        replaced.add(calibration_file(calibration.precision))
    with whole_directory(bundle.path.resolve()) as directory:
        _link_all(bundle.path, directory, replaced | {MANIFEST})
        files = bundle.manifest.files | (_keep(calibration, directory) if calibration else {})
        plans = []
        for shapes in _for_one_builder(decision):
            with Apart(decision.offer.builder) as builder:
                for shape, part in itertools.product(shapes, range(len(decision.parts))):
                    piece, graph = Piece(shape, part), directory / _GRAPH
                    _lower(bundle, decision, options.calibration, piece, graph)
                    plan, used = _build_one(decision, options, piece, graph, builder)
                    plans.append(plan)
                    peak = max(peak, used)
                    advance(1)
        manifest = msgspec.structs.replace(bundle.manifest, files=files, plan=(*kept, *plans))
        _write(manifest, directory)
        if decision.gpu and options.verify:
            ran_on = f"{datetime.date.today()} {verify(directory, sm).device}"
            ran = [msgspec.structs.replace(plan, verified_on=ran_on) for plan in plans]
            manifest = msgspec.structs.replace(manifest, plan=(*kept, *ran))
            _write(manifest, directory)
    return manifest, peak


def _for_one_builder(decision: Decision) -> list[tuple[TrtShape, ...]]:
    """All shapes where they hold no weights: else a builder would keep those of the shapes before."""
    if shares_weights(decision.precision):
        return [decision.shapes]
    return [(shape,) for shape in decision.shapes]


def _write(manifest: Manifest, directory: Path) -> None:
    (directory / MANIFEST).write_text(to_toml(msgspec.to_builtins(manifest)), "utf-8")


def kept_calibration(bundle: Bundle, precision: str, head: bool = False) -> Calibration | None:
    """What an earlier compilation found for these very weights; None where there is nothing of the kind.

    `head`: whether it is to quantise the vocabulary's matrix, too.
    """
    name = calibration_file(precision)
    if name not in bundle.manifest.files:
        return None
    found = load_calibration(bundle.file(name))
    same = found.weights_sha256 == bundle.manifest.files[WEIGHTS].sha256
    has_head = not HEADS.isdisjoint(found.points)
    return found if same and found.precision == precision and has_head == head else None


def calibration_file(precision: str) -> str:
    """Its name in a bundle."""
    return f"calibration.{precision}.json"


def _keep(calibration: Calibration, directory: Path) -> dict[str, FileDigest]:
    path = directory / calibration_file(calibration.precision)
    calibration.save(path)
    return {path.name: FileDigest(sha256_file(path), path.stat().st_size)}


def _build_one(
    decision: Decision, options: CompileOptions, piece: Piece, graph: Path, builder: Apart
) -> tuple[Plan, int]:
    sm, precision, shape, directory = decision.capability.sm, decision.precision, piece.shape, graph.parent
    path = directory / piece.file(decision)
    cache = directory / f"{_CACHE}.sm{sm}.{decision.offer.builder}.cache"
    job = Job(
        onnx=str(graph),
        plan=str(path),
        cache=str(cache),
        precision="fp16" if _in_fp16(decision, options.calibration, piece) else precision,
        sm=sm if decision.gpu is None else "",
        workspace_mb=options.workspace_mb,
        level=options.level,
    )
    outcome = builder.run(Task(job))
    for rubbish in directory.glob(f"{_GRAPH}*"):
        rubbish.unlink()
    plan = Plan(
        file=path.name,
        role=shape.role,
        batch=shape.batch,
        chunk=shape.tokens,
        max_seq_len=shape.max_seq_len,
        precision=precision,
        tensorrt_version=decision.offer.version,
        sm=sm,
        sha256=sha256_file(path),
        builder=decision.offer.builder,
        gpu=decision.gpu.identity if decision.gpu else "",
        lowering=decision.lowering,
        size=path.stat().st_size,
        part=piece.part,
        parts=len(decision.parts),
        repeats=decision.parts[piece.part].repeats,
    )
    return plan, outcome.peak_bytes


def _lower(
    bundle: Bundle, decision: Decision, calibration: Calibration | None, piece: Piece, graph: Path
) -> None:
    """Write the graph beside the weights that it refers to."""
    store = WeightStore(read_safetensors(graph.with_name(WEIGHTS)))
    architecture = stored_architecture(bundle.manifest, store)
    precision = cast("Precision", decision.precision)
    if _in_fp16(decision, calibration, piece):
        precision, calibration = "fp16", None
    weights: WeightsAs = "inputs" if shares_weights(precision) else "constants"
    if decision.lowering == "native":
        lower_trt_native(
            architecture, store, piece.shape, precision, graph, weights=weights, calibration=calibration
        )
        return
    typed = decision.offer.strongly_typed
    lower_trt_plain(
        architecture,
        store,
        piece.shape,
        precision,
        graph,
        weights=weights,
        strongly_typed=typed,
        calibration=calibration,
        part=decision.parts[piece.part],
    )


def _in_fp16(decision: Decision, calibration: Calibration | None, piece: Piece) -> bool:
    """Whether a part has no matrix that the precision rounds: all plans then share the one it reads.

    Embeddings are not rounded, and what follows the last layer where the calibration has the head is.
    """
    part = decision.parts[piece.part]
    rounds_head = part.ends and calibration is not None and not HEADS.isdisjoint(calibration.points)
    return decision.precision == "fp16" or not (part.layers or rounds_head)


def _link_all(source: Path, target: Path, without: set[str]) -> None:
    """The bundle's files under second names: gigabytes are not copied. What a build writes to is."""
    for entry in source.iterdir():
        if entry.name in without:
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, copy_function=_link)
        elif entry.name.startswith(f"{_CACHE}."):
            shutil.copyfile(entry, target / entry.name)
        else:
            _link(entry, target / entry.name)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
