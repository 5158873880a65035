"""Bundles for tests: real ones, built once by the product's own command and kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import lineside_models
from lineside.engine.bundle import MANIFEST
from lineside_models.fetch import cache_directory

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
    if not (path / MANIFEST).is_file():
        command = [Path(sys.executable).parent / "lineside-build", "build", recipe]
        command += ["--embedder", embedder] if embedder else []
        subprocess.run([*command, "--output", path, "--weights", weights], check=True)
    return path
