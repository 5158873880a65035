"""The command `lineside-build`. Knows arguments, exit codes and what to print; the work is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from rich.console import Console

from lineside.engine.bundle import open_bundle
from lineside.errors import LinesideError

_BUILD_PACKAGES = ("gguf", "ml_dtypes", "onnx", "onnxruntime", "safetensors")

try:
    from lineside_models.build import BuildOptions, EmbedderSource, build_bundle, work_of
    from lineside_models.checkpoint import Checkpoint, open_checkpoint
    from lineside_models.fetch import fetch
    from lineside_models.graph.store import WEIGHT_TYPES
    from lineside_models.perplexity import calibration_text, measure_perplexity
    from lineside_models.progress import progress
    from lineside_models.recipe import Recipe, read_recipe, read_recipe_of, recipe_names
    from lineside_models.trt.command import add_compile, add_options, run_compile
except ModuleNotFoundError as error:
    if error.name not in _BUILD_PACKAGES:
        raise
    # A daemon's installation has the command, and not what it needs.
    sys.exit("lineside-build needs the build packages: pip install 'lineside[models]'")

_EXIT_FAILED, _EXIT_INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: it failed, and why was printed; 2: the arguments are wrong."""
    options = _parser().parse_args(arguments)
    notes = Console(stderr=True)
    try:
        _COMMANDS[options.command](options, notes)
    except LinesideError as error:
        notes.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return _EXIT_FAILED
    except KeyboardInterrupt:
        notes.print("interrupted: nothing was written")
        return _EXIT_INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lineside-build", description="Turn a checkpoint into a bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build a bundle")
    build.add_argument("source", metavar="SOURCE", help="a recipe, a .gguf file or a Hugging Face directory")
    build.add_argument("--output", metavar="DIR", type=Path, required=True, help="where the bundle goes")
    build.add_argument("--weights", choices=WEIGHT_TYPES, default="int8", help="default: int8")
    build.add_argument("--max-seq-len", type=int, default=1024, help="longest prompt and answer, in tokens")
    build.add_argument(
        "--thinking-tokens", type=int, help="how long a reasoning model may think (default: the recipe's)"
    )
    build.add_argument("--name", help="the bundle's name (default: the recipe's or the file's)")
    build.add_argument(
        "--language", action="append", metavar="CODE", help="a language the model writes; may be repeated"
    )
    build.add_argument(
        "--embedder", metavar="RECIPE", help="an embedder to put in, such as multilingual-e5-small"
    )
    build.add_argument(
        "--target", choices=("onnxruntime", "tensorrt"), default="onnxruntime", help="tensorrt: compile, too"
    )
    add_options(build)
    add_compile(commands)
    get = commands.add_parser("fetch", help="fetch a recipe's checkpoint into the cache")
    get.add_argument("recipe", metavar="RECIPE")
    commands.add_parser("recipes", help="list the recipes")
    measure = commands.add_parser("perplexity", help="measure a bundle's perplexity")
    measure.add_argument("bundle", metavar="BUNDLE", type=Path)
    measure.add_argument(
        "--text", metavar="FILE", type=Path, help="default: a text for each of its languages"
    )
    return parser


def _build(options: argparse.Namespace, notes: Console) -> None:
    embedder = _embedder(options.embedder, notes) if options.embedder else None
    if options.source in recipe_names():
        recipe = read_recipe_of("decoder", options.source)
        checkpoint = open_checkpoint(_fetched(recipe, notes))
        name, languages, licence = recipe.name, recipe.languages, recipe.licence
        thinking_tokens = recipe.thinking_tokens
    else:
        checkpoint = _open_path(options.source)
        name, languages, licence = _described(checkpoint)
        thinking_tokens = None
    wanted = BuildOptions(
        name=options.name or name,
        languages=tuple(options.language or languages),
        licence=licence,
        weights=options.weights,
        prompts=options.calibration,
        max_seq_len=options.max_seq_len,
        embedder=embedder,
        thinking_tokens=thinking_tokens if options.thinking_tokens is None else options.thinking_tokens,
    )
    with progress(notes, f"building {wanted.name}", work_of(checkpoint, wanted)) as advance:
        build_bundle(checkpoint, options.output, wanted, advance)
    if options.target == "tensorrt":
        run_compile(argparse.Namespace(**vars(options), bundle=options.output, dry_run=False), notes)
    else:
        print(options.output)


def _embedder(name: str, notes: Console) -> EmbedderSource:
    recipe = read_recipe_of("embedder", name)
    return EmbedderSource(name=recipe.name, licence=recipe.licence, path=_fetched(recipe, notes))


def _open_path(source: str) -> Checkpoint:
    if Path(source).exists() or "/" in source or source.endswith(".gguf"):
        return open_checkpoint(Path(source))
    read_recipe(source)  # raises, naming the recipes
    raise AssertionError(source)


def _described(checkpoint: Checkpoint) -> tuple[str, tuple[str, ...], str]:
    """Name, languages and licence, as far as the checkpoint tells them."""
    languages = checkpoint.metadata.get("general.languages")
    known = tuple(str(code) for code in languages) if isinstance(languages, list) else ("en",)
    licence = str(checkpoint.metadata.get("general.license", "unknown"))
    return checkpoint.path.absolute().name.removesuffix(".gguf"), known, licence


def _fetched(recipe: Recipe, notes: Console) -> Path:
    with progress(notes, f"fetching {recipe.name}", recipe.size) as advance:
        return fetch(recipe, advance)


def _fetch(options: argparse.Namespace, notes: Console) -> None:
    print(_fetched(read_recipe(options.recipe), notes))


def _recipes(_: argparse.Namespace, __: Console) -> None:
    for name in recipe_names():
        recipe = read_recipe(name)
        size = f"{recipe.size / 1e6:,.0f} MB"
        print(f"{name:32} {size:>10}  {','.join(recipe.languages):6} {recipe.licence}")


def _perplexity(options: argparse.Namespace, _: Console) -> None:
    bundle = open_bundle(options.bundle)
    texts = [options.text] if options.text else [calibration_text(code) for code in bundle.manifest.languages]
    for text in texts:
        result = measure_perplexity(bundle, text)
        print(f"{result.text}: {result.perplexity:.3f} over {result.tokens} tokens")


_COMMANDS: dict[str, Callable[[argparse.Namespace, Console], None]] = {
    "build": _build,
    "compile": run_compile,
    "fetch": _fetch,
    "perplexity": _perplexity,
    "recipes": _recipes,
}


if __name__ == "__main__":
    sys.exit(main())
