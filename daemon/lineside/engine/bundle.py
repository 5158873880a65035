"""What a bundle is, and how it is opened and trusted. Knows nothing of how it was built or is run."""

from __future__ import annotations

import concurrent.futures
import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lineside.errors import LinesideError
from lineside.plain_files import open_plain
from lineside.toml_file import TomlError, read_toml

SCHEMA_VERSION = 1
MANIFEST = "bundle.toml"
TOKENIZER = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
ONNX_MODEL = "model.onnx"
ONNX_VNNI_MODEL = "model.vnni.onnx"  # for x86 processors with VNNI, of bundles that multiply whole rows
ONNX_CUDA_MODEL = "model.cuda.onnx"  # the same over a cache in FP16, which ONNX Runtime wants on a GPU
WEIGHTS = "weights.safetensors"
EMBEDDER_MODEL = "embedder.onnx"
EMBEDDER_WEIGHTS = "embedder.safetensors"
EMBEDDER_TOKENIZER = "embedder_tokenizer.json"
EMBEDDER_FILES = (EMBEDDER_MODEL, EMBEDDER_WEIGHTS, EMBEDDER_TOKENIZER)
# Between two of them whoever hashes waits for its turn of Python, which a start keeps busy.
BLOCK_BYTES = 1 << 22


class BundleError(LinesideError):
    """A bundle that cannot be used as it is."""


class Geometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the decoder, in elements.

    `rope_divisors`: what the angle of each rotary pair is divided by, where a model stretches its positions;
    `rope_magnitude`: what the rotated values are multiplied by.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    rope_theta: float
    norm_eps: float
    tied_head: bool
    rope_divisors: tuple[float, ...] = ()
    rope_magnitude: float = 1.0


class SpecialTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Token ids that end a generation, and the one put before every prompt where the model wants one."""

    eos: tuple[int, ...]
    bos: int | None = None


class Thinking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reasoning model's: it thinks between <think> and </think> before it answers.

    `tokens`: how long it may where nobody says otherwise; 0: not at all.
    """

    tokens: int


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The checkpoint that the bundle was built from."""

    file: str
    sha256: str


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the bundle."""

    sha256: str
    size: int


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One TensorRT plan: what it computes, and the device that it was built for.

    `role` step: one token of each of `batch` sequences; chunk: `chunk` tokens of one. `sm` is the compute
    capability without its dot, such as 87. `gpu` is empty where the plan was built elsewhere for any GPU of
    that capability, `verified_on` until it has run. Files of one computation that run one after the other are
    its `part` 0 to `parts` - 1. One with `repeats` over 1 runs so often in a row, as each layer in turn.
    """

    file: str
    role: str
    batch: int
    chunk: int
    max_seq_len: int
    precision: str
    tensorrt_version: str
    sm: str
    sha256: str
    verified_on: str = ""
    builder: str = "tensorrt"  # the module, or tensorrt_rtx: neither runs the other's plans
    gpu: str = ""
    lowering: str = "plain"
    size: int = 0
    part: int = 0
    parts: int = 1
    repeats: int = 1

    @property
    def computation(self) -> tuple[str, int, int]:
        """Role and sizes: what all parts have in common."""
        return self.role, self.batch, self.chunk


class EmbedderFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model that turns sentences into vectors: its files are those named EMBEDDER_*."""

    name: str
    licence: str
    width: int
    max_tokens: int
    query_prefix: str
    passage_prefix: str
    source: Source


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """bundle.toml."""

    schema_version: int
    name: str
    architecture: str
    precision: str
    max_seq_len: int
    parameters: int
    languages: tuple[str, ...]
    licence: str
    geometry: Geometry
    tokens: SpecialTokens
    source: Source
    files: dict[str, FileDigest]
    plan: tuple[Plan, ...] = ()
    embedder: EmbedderFacts | None = None
    thinking: Thinking | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files are those of its manifest."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of one of the bundle's files."""
        return self.path / name


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open_plain(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Parse `path`/bundle.toml. Raises BundleError with the field's name."""
    rebuild = f"build it again: lineside-build build RECIPE --output {path}"
    make = (
        f"copy a bundle there, or build one: lineside-build build RECIPE --output {path}; "
        'a daemon with [diagnosis] mode = "rules" needs none'
    )
    try:
        raw = read_toml(path / MANIFEST)
    except FileNotFoundError:
        raise BundleError("open bundle", f"there is no bundle at {path}", make) from None
    except OSError as error:
        raise BundleError("open bundle", f"{path / MANIFEST}: {error.strerror}", rebuild) from error
    except TomlError as error:
        raise BundleError("open bundle", f"{path / MANIFEST}: {error}", rebuild) from error
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        message = f"{path / MANIFEST}: schema_version is {version}, this daemon reads {SCHEMA_VERSION}"
        raise BundleError("open bundle", message, rebuild)
    try:
        return msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise BundleError("open bundle", f"{path / MANIFEST}: {error}", rebuild) from error


def open_bundle(path: Path) -> Bundle:
    """Parse the manifest and verify the files."""
    bundle = Bundle(path, read_manifest(path))
    verify(bundle)
    return bundle


def verify(bundle: Bundle, *names: str) -> None:
    """Check size and digest of every file, or of those that are named. Raises BundleError naming the file."""
    path, manifest = bundle.path, bundle.manifest
    expected_files = {name: digest for name, digest in manifest.files.items() if not names or name in names}
    rebuild = f"build it again: lineside-build build {manifest.name} --output {path}"

    def check(item: tuple[str, FileDigest]) -> str:
        name, expected = item
        file = path / name
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != expected.size:
            return f"{file} has {file.stat().st_size} bytes, the manifest says {expected.size}"
        if sha256_file(file) != expected.sha256:
            return f"{file} does not have the digest that the manifest says"
        return ""

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for problem in pool.map(check, expected_files.items()):
            if problem:
                raise BundleError("open bundle", problem, rebuild)
