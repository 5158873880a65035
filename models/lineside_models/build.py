"""The build, end to end: a checkpoint becomes a bundle. Knows no terminal and no recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from lineside.engine.bundle import (
    CHAT_TEMPLATE,
    MANIFEST,
    ONNX_CUDA_MODEL,
    ONNX_MODEL,
    ONNX_VNNI_MODEL,
    SCHEMA_VERSION,
    TOKENIZER,
    WEIGHTS,
    Bundle,
    FileDigest,
    Manifest,
    Source,
    Thinking,
    sha256_file,
)
from lineside_models.bundle_writer import whole_directory
from lineside_models.calibration.record import CHUNK
from lineside_models.calibration.rows import choose_rows
from lineside_models.checkpoint import Checkpoint
from lineside_models.checkpoint.base import parameter_count
from lineside_models.encoder.store import write_embedder
from lineside_models.errors import BuildError
from lineside_models.graph.dialect_ort import lower_ort
from lineside_models.graph.store import BY_ROW, WEIGHT_TYPES, WeightStore, write_store
from lineside_models.safetensors_file import read_safetensors
from lineside_models.tokenizer import TextSide, read_text_side
from lineside_models.toml import to_toml

MIN_SEQ_LEN = 64


class EmbedderSource(msgspec.Struct, frozen=True, kw_only=True):
    """The embedder to put beside the decoder."""

    name: str
    licence: str
    path: Path


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decides."""

    name: str
    languages: tuple[str, ...]
    licence: str
    weights: str = "int8"
    prompts: Path | None = None  # read to choose scales of rows; None: those that come with the build step
    max_seq_len: int = 1024
    embedder: EmbedderSource | None = None
    thinking_tokens: int | None = None  # None: as the chat template suggests


def build_bundle(
    checkpoint: Checkpoint, output: Path, options: BuildOptions, advance: Callable[[int], None]
) -> Manifest:
    """Write the bundle, whole or not at all. `advance` hears of what is done of `work_of`."""
    _check_options(checkpoint, options)
    text = read_text_side(checkpoint)
    source = source_of(checkpoint)
    with whole_directory(output) as directory:
        (directory / TOKENIZER).write_text(text.tokenizer_json, "utf-8")
        (directory / CHAT_TEMPLATE).write_text(text.chat_template, "utf-8")
        manifest = _manifest(checkpoint, options, text, source)
        # What is to be by row reads the prompts in blocks of 8 bits, whatever the others will have.
        first = "int8" if options.weights in BY_ROW else options.weights
        digest, size = write_store(directory / WEIGHTS, checkpoint, first, advance)
        if options.weights in BY_ROW:
            values = parameter_count(checkpoint.architecture)
            by_row = choose_rows(
                Bundle(directory, manifest), options.prompts, lambda share: advance(round(share * values))
            )
            digest, size = write_store(directory / WEIGHTS, checkpoint, options.weights, advance, by_row)
        graphs = _write_graphs(checkpoint, directory, options)
        files = {WEIGHTS: FileDigest(digest, size)}
        for name in (*graphs, TOKENIZER, CHAT_TEMPLATE):
            path = directory / name
            files[name] = FileDigest(sha256_file(path), path.stat().st_size)
        embedder = None
        if wanted := options.embedder:
            embedder, written = write_embedder(directory, wanted.path, wanted.name, wanted.licence)
            files.update(written)
        manifest = msgspec.structs.replace(manifest, files=files, embedder=embedder)
        (directory / MANIFEST).write_text(to_toml(msgspec.to_builtins(manifest)), "utf-8")
    return manifest


def work_of(checkpoint: Checkpoint, options: BuildOptions) -> int:
    """How much there is to do: the values to be written and, for weights by row, the prompts to be read,
    which count as the values do, before they are written again.
    """
    return parameter_count(checkpoint.architecture) * (3 if options.weights in BY_ROW else 1)


def _write_graphs(checkpoint: Checkpoint, directory: Path, options: BuildOptions) -> list[str]:
    """Every graph of the bundle, beside its store. Returns the files' names."""
    store = WeightStore(read_safetensors(directory / WEIGHTS))
    names = [ONNX_MODEL, ONNX_CUDA_MODEL, *([ONNX_VNNI_MODEL] if store.by_rows else [])]
    for name in names:
        lower_ort(
            checkpoint.architecture,
            store,
            options.max_seq_len,
            directory / name,
            attention="fp16" if name == ONNX_CUDA_MODEL else "fp32",
            signed=name == ONNX_VNNI_MODEL,
        )
    return names


def _manifest(
    checkpoint: Checkpoint,
    options: BuildOptions,
    text: TextSide,
    source: Source,
) -> Manifest:
    """What the manifest tells of the model, before any file is there."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=options.name,
        architecture=checkpoint.architecture.family,
        precision=options.weights,
        max_seq_len=options.max_seq_len,
        parameters=parameter_count(checkpoint.architecture),
        languages=options.languages,
        licence=options.licence,
        geometry=checkpoint.architecture.geometry,
        tokens=text.tokens,
        source=source,
        files={},
        thinking=_thinking(text, options),
    )


def _thinking(text: TextSide, options: BuildOptions) -> Thinking | None:
    if text.thinking is None:
        return None
    suggested = min(text.thinking.tokens, options.max_seq_len // 4)
    return Thinking(suggested if options.thinking_tokens is None else options.thinking_tokens)


def source_of(checkpoint: Checkpoint) -> Source:
    """Name and digest of the checkpoint: of its file, or of the list of its files' digests."""
    files = checkpoint.files()
    digests = [sha256_file(file) for file in files]
    if len(files) == 1:
        return Source(files[0].name, digests[0])
    listing = "".join(f"{digest}  {file.name}\n" for digest, file in zip(digests, files, strict=True))
    return Source(checkpoint.path.absolute().name, hashlib.sha256(listing.encode()).hexdigest())


def _check_options(checkpoint: Checkpoint, options: BuildOptions) -> None:
    longest = checkpoint.architecture.max_position
    if not MIN_SEQ_LEN <= options.max_seq_len <= longest:
        message = f"--max-seq-len {options.max_seq_len} is outside {MIN_SEQ_LEN} to {longest}"
        reason = (
            f"this model was trained for {longest} positions; prompt and answer need at least {MIN_SEQ_LEN}"
        )
        raise BuildError("build bundle", message, f"choose a length in that range: {reason}")
    if not 0 <= (options.thinking_tokens or 0) < options.max_seq_len:
        message = f"thinking_tokens {options.thinking_tokens} is outside 0 to {options.max_seq_len - 1}"
        hint = "choose --thinking-tokens so that prompt and answer fit beside them, or a larger --max-seq-len"
        raise BuildError("build bundle", message, hint)
    if options.weights not in WEIGHT_TYPES:
        message = f"--weights {options.weights} is not known"
        raise BuildError("build bundle", message, f"choose one of {', '.join(WEIGHT_TYPES)}")
    if options.weights in BY_ROW and options.max_seq_len < CHUNK:
        message = (
            f"--weights {options.weights} needs a --max-seq-len of at least {CHUNK}: so long are its prompts"
        )
        raise BuildError("build bundle", message, "choose a larger --max-seq-len, or weights in blocks")
