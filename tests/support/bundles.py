"""Bundles for tests: real ones, built once by the product's own command and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

import lineside_models
from lineside.engine.bundle import MANIFEST, Bundle, FileDigest, Plan, read_manifest
from lineside_models.fetch import cache_directory
from lineside_models.toml import to_toml
from tests.support.making import making

SMOLLM2 = "smollm2-135m-instruct"


def build_digest() -> str:
    """Changes with any line of the build's code or recipes."""
    package = Path(lineside_models.__file__).parent
    digest = hashlib.sha256()
    for file in sorted([*package.rglob("*.py"), *(package.parent / "recipes").glob("*.toml")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def recipe_bundle(recipe: str, weights: str = "int8", embedder: str = "") -> Path:
    """The bundle of a recipe, built unless it is in the cache."""
    name = f"{recipe}-{weights}{'-' if embedder else ''}{embedder}-{build_digest()}"
    path = cache_directory() / "test-bundles" / name
    with making(path):
        if not (path / MANIFEST).is_file():
            command = [Path(sys.executable).parent / "lineside-build", "build", recipe]
            command += ["--embedder", embedder] if embedder else []
            subprocess.run([*command, "--output", path, "--weights", weights], check=True)
    return path


def altered_bundle(
    source: Path, target: Path, files: Mapping[str, bytes] | None = None, **manifest: object
) -> Bundle:
    """A bundle that differs from another in some files, whose digests are right, and manifest fields."""
    files = files or {}
    target.mkdir()
    for file in source.iterdir():
        if file.name not in files and file.name != MANIFEST:
            os.link(file, target / file.name)
    digests = dict(read_manifest(source).files)
    for name, content in files.items():
        (target / name).write_bytes(content)
        digests[name] = FileDigest(hashlib.sha256(content).hexdigest(), len(content))
    changed = msgspec.structs.replace(read_manifest(source), files=digests, **manifest)
    (target / MANIFEST).write_text(to_toml(msgspec.to_builtins(changed)), "utf-8")
    return Bundle(target, changed)


def plan_of(role: str, **fields: object) -> Plan:
    """A plan for an Orin, as a manifest has it."""
    defaults = {"file": f"{role}.plan", "batch": 1, "chunk": 128, "max_seq_len": 64, "precision": "fp16"}
    defaults |= {"tensorrt_version": "10.16.2", "sm": "87", "sha256": hashlib.sha256(b"plan").hexdigest()}
    return Plan(role=role, **defaults | {"gpu": "Orin, 8 multiprocessors"} | fields)
