"""The canonical store of values and scales: one file from which every lowering reads.

Knows nothing of ONNX or TensorRT. A matrix `m` is `m` in float32 [rows, columns], or `m.q` with `m.scale`
(see quantize.py), a scale for each block or for each row; its bias is `m.bias`. `qkv` is q, k and v below
one another, `gate_up` gate and up. `m.apart` is 1 for the channels of a matrix's input whose part of the
product is not computed in integers, else 0; `m.exact` has their columns in float32, [rows, channels].
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Manifest
from lineside.engine.weights import BLOCK, dequantise
from lineside_models.checkpoint import Architecture, Checkpoint, tensor_shapes
from lineside_models.errors import BuildError
from lineside_models.graph.equalise import Equaliser
from lineside_models.quantize import quantise, quantise_rows
from lineside_models.safetensors_file import SafetensorsFile, SafetensorsWriter

BY_ROW = ("int8-rows", "int4-rows")  # what is not by row is in blocks, of 8 or 4 bits
WEIGHT_TYPES = ("int8", "int4", *BY_ROW, "fp32")
_CHUNK_VALUES = 1 << 18  # values at a time: 1 MiB of float32, which stays in the CPU's cache (measured)
_FUSED = {"qkv": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj")}


@dataclass(frozen=True, slots=True)
class Entry:
    """One matrix or vector of the store and the checkpoint tensors that it is made of, in order."""

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    bits: int  # 32, 8 or 4
    by_row: bool = False  # one scale for each row, not for each block

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Names, types and shapes as they are stored."""
        if self.bits == 32:
            return {self.name: ("F32", self.shape)}
        rows, blocks = self.shape[0], self.shape[1] // BLOCK
        return {
            f"{self.name}.q": ("U8", (rows, blocks, BLOCK * self.bits // 8)),
            f"{self.name}.scale": ("F32", (rows, 1 if self.by_row else blocks)),
        }


@dataclass(frozen=True, slots=True)
class WeightStore:
    """The opened store, as lowerings see it."""

    file: SafetensorsFile

    def bits(self, name: str) -> int:
        """Width of a matrix's values."""
        if name in self.file.entries:
            return 32
        return self.file.entries[f"{name}.q"].shape[-1] * 8 // BLOCK

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a matrix or vector, in values."""
        if name in self.file.entries:
            return self.file.entries[name].shape
        rows, blocks, _ = self.file.entries[f"{name}.q"].shape
        return rows, blocks * BLOCK

    def by_row(self, name: str) -> bool:
        """Whether a matrix has one scale for each row, of several blocks."""
        if name in self.file.entries:
            return False
        return self.file.entries[f"{name}.scale"].shape[1] < self.file.entries[f"{name}.q"].shape[1]

    @property
    def by_rows(self) -> bool:
        """Whether any matrix is by row."""
        matrices = (name.removesuffix(".q") for name in self.file.entries if name.endswith(".q"))
        return any(map(self.by_row, matrices))

    def apart(self, name: str) -> NDArray[np.int64]:
        """Channels of a matrix's input whose part of its product is not computed in integers."""
        marked = self.file.array(f"{name}.apart") if self.has(f"{name}.apart") else np.zeros(0)
        return np.flatnonzero(marked)

    def has(self, name: str) -> bool:
        """Whether the store has a tensor of exactly this name."""
        return name in self.file.entries

    def values(self, name: str) -> NDArray[np.float32]:
        """A matrix or vector as the target computes with it, in float32."""
        bits = self.bits(name)
        if bits == 32:
            return self.file.array(name).astype(np.float32)
        stored, scale = self.file.array(f"{name}.q"), self.file.array(f"{name}.scale")
        return dequantise(stored.astype(np.uint8), scale.astype(np.float32))


def stored_architecture(manifest: Manifest, store: WeightStore) -> Architecture:
    """The architecture of a bundle's model, from its manifest and what its store has."""
    return Architecture(
        family=manifest.architecture,
        geometry=manifest.geometry,
        qkv_bias=store.has("layers.0.qkv.bias"),
        o_bias=store.has("layers.0.o_proj.bias"),
        qk_norm=store.has("layers.0.q_norm"),
        max_position=manifest.max_seq_len,
    )


def plan_store(architecture: Architecture, weights: str, by_row: Container[str] = ()) -> list[Entry]:
    """Every entry of the store, those whose bytes keep the next one aligned first. `by_row`: matrices."""
    shapes = tensor_shapes(architecture)
    entries = [
        Entry(name, (name,), shapes[name], _bits(name, shapes[name], weights))
        for name in ("embed", "norm", "head")
        if name in shapes
    ]
    for layer in range(architecture.geometry.layers):
        entries += _plan_layer(f"layers.{layer}.", shapes, weights)
    entries = [replace(entry, bits=8, by_row=True) if entry.name in by_row else entry for entry in entries]
    return sorted(entries, key=lambda entry: not _keeps_alignment(entry))


def _plan_layer(prefix: str, shapes: dict[str, tuple[int, ...]], weights: str) -> Iterator[Entry]:
    alone = ("attn_norm", "q_norm", "k_norm", "o_proj", "mlp_norm", "down_proj")
    groups = {**_FUSED, **{name: (name,) for name in alone}}
    for name, parts in groups.items():
        for suffix in ("", ".bias"):
            sources = tuple(f"{prefix}{part}{suffix}" for part in parts)
            if sources[0] in shapes:
                rows = sum(shapes[source][0] for source in sources)
                shape = (rows, *shapes[sources[0]][1:])
                yield Entry(prefix + name + suffix, sources, shape, _bits(name, shape, weights))


def _bits(name: str, shape: tuple[int, ...], weights: str) -> int:
    if len(shape) == 1 or weights == "fp32":
        return 32
    if shape[1] % BLOCK:
        message = f"matrix {name} has rows of {shape[1]} values, not a multiple of {BLOCK}"
        raise BuildError("quantise", message, "build with --weights fp32")
    return 8 if weights in ("int8", "int8-rows") or name in ("embed", "head") else 4


def _keeps_alignment(entry: Entry) -> bool:
    item = {"F32": 4, "U8": 1}
    return all(int(np.prod(shape)) * item[dtype] % 64 == 0 for dtype, shape in entry.layout().values())


def write_store(
    path: Path,
    checkpoint: Checkpoint,
    weights: str,
    advance: Callable[[int], None],
    by_row: Equaliser | None = None,
) -> tuple[str, int]:
    """Write the store, a slice of a tensor at a time. Returns its digest and size.

    `advance` is called with the number of checkpoint values that were just written. `by_row`: its matrices
    get one scale for each row, with its scales of channels folded in.
    """
    entries = plan_store(checkpoint.architecture, weights, by_row.channels if by_row else ())
    layout = {name: value for entry in entries for name, value in entry.layout().items()}
    apart = {entry: by_row.apart[entry.name] for entry in entries if by_row and entry.name in by_row.apart}
    for entry, columns in apart.items():
        layout[f"{entry.name}.exact"] = ("F32", (entry.shape[0], len(columns)))
        layout[f"{entry.name}.apart"] = ("F32", entry.shape[1:])
    shapes = tensor_shapes(checkpoint.architecture)
    with SafetensorsWriter(path, layout) as writer:
        exact: dict[Entry, list[NDArray[np.float32]]] = {entry: [] for entry in apart}
        for entry in entries:
            scales = []
            for start, raw in _slices(checkpoint, entry, shapes):
                values = by_row.scaled(entry.name, raw, start) if by_row else raw
                if entry.bits == 32:
                    writer.write(values)
                else:
                    stored, scale = quantise_rows(values) if entry.by_row else quantise(values, entry.bits)
                    writer.write(stored)
                    scales.append(scale)
                if entry in apart:
                    exact[entry].append(values[:, apart[entry]])
                advance(values.size)
            for scale in scales:
                writer.write(scale)
        for entry, columns in apart.items():
            for some in exact[entry]:
                writer.write(some)
            marked = np.zeros(entry.shape[1], np.float32)
            marked[columns] = 1
            writer.write(marked)
    return writer.sha256(), writer.size


def _slices(
    checkpoint: Checkpoint, entry: Entry, shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Rows of an entry, a few at a time, each with the row that it begins at."""
    step = max(1, _CHUNK_VALUES // (entry.shape[1] if len(entry.shape) > 1 else 1))
    first = 0
    for source in entry.sources:
        rows = shapes[source][0]
        for start in range(0, rows, step):
            values = checkpoint.rows(source, start, min(start + step, rows))
            if not np.isfinite(values).all():
                name = checkpoint.own_name(source)
                message = f"{checkpoint.path}: tensor {name} holds values that are not finite"
                raise BuildError("quantise", message, "fetch or convert the checkpoint again")
            yield first + start, values
        first += rows
