"""The models that are measured: bundles, checkpoints, texts. Knows no engine."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers import say
from lineside.engine.bundle import MANIFEST, TOKENIZER, Bundle, read_manifest
from lineside_models.fetch import cache_directory, fetch
from lineside_models.perplexity import calibration_text
from lineside_models.recipe import read_recipe

WINDOW = 512


@dataclass(frozen=True, slots=True)
class Model:
    """`key` begins the names of its metrics; `weights` are those of our bundle."""

    key: str
    recipe: str
    weights: str
    languages: tuple[str, ...]
    rounds: int


SMOLLM2 = Model("smollm2", "smollm2-135m-instruct", "int8-rows", ("en",), 7)
QWEN = Model("qwen1_5b", "qwen2.5-coder-1.5b-instruct", "int4-rows", ("en", "zh"), 3)
MODELS = {model.key: model for model in (SMOLLM2, QWEN)}


def bundle_of(model: Model, given: Path | None) -> Bundle:
    """A bundle that was given, else one built once by the product's own command and kept in the cache."""
    path = given or cache_directory() / "bench-bundles" / f"{model.recipe}-{model.weights}"
    if not (path / MANIFEST).is_file():
        say(f"building {path}")
        build = [str(Path(sys.executable).parent / "lineside-build"), "build", model.recipe]
        subprocess.run([*build, "--weights", model.weights, "--output", str(path)], check=True)
    return Bundle(path, read_manifest(path))


def checkpoint_of(model: Model) -> Path:
    """The GGUF file that the bundle was built from."""
    return fetch(read_recipe(model.recipe), lambda _: None)


@functools.cache
def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer of a bundle's directory, read once."""
    return Tokenizer.from_file(str(path / TOKENIZER))


def text_ids(bundle: Bundle, language: str) -> list[int]:
    """Tokens of the text in a language that comes with the build step."""
    content = calibration_text(language).read_text("utf-8")
    ids: list[int] = tokenizer_of(bundle.path).encode(content, add_special_tokens=False).ids
    return ids


def prompt_ids(bundle: Bundle, length: int, begin: int = 0) -> list[int]:
    """A prompt of that many tokens which is tokenised to the same when it comes as text.

    It begins at the first place from `begin` on where that is so; the text is gone through again and again.
    """
    tokenizer = tokenizer_of(bundle.path)
    ids = text_ids(bundle, "en")
    for shift in range(len(ids)):
        start = (begin + shift) % len(ids)
        found = [ids[(start + index) % len(ids)] for index in range(length)]
        text = tokenizer.decode(found, skip_special_tokens=False)
        if tokenizer.encode(text, add_special_tokens=False).ids == found:
            return found
    raise ValueError(f"no {length} tokens of the text are tokenised to themselves")


def texts_of(bundle: Bundle, length: int, count: int, begin: int = 0) -> list[str]:
    """Prompts of `length` tokens each that begin differently."""
    tokenizer = tokenizer_of(bundle.path)
    return [
        tokenizer.decode(prompt_ids(bundle, length, begin + 37 * index), skip_special_tokens=False)
        for index in range(count)
    ]


def windows_of(bundle: Bundle, languages: tuple[str, ...]) -> list[list[int]]:
    """The texts for perplexity, cut into windows that do not overlap."""
    return [
        ids[start : start + WINDOW]
        for ids in (text_ids(bundle, language) for language in languages)
        for start in range(0, len(ids) - 1, WINDOW)
    ]
