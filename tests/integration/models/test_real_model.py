"""The recipe of SmolLM2-135M-Instruct from its place to a bundle: logits, perplexity, tokenisation.

The checkpoint (98 MB) is fetched once into the cache directory; bundles are kept there too, by the digest of
the build's code and the weight type, and other tests may use them.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import jinja2
import numpy as np
import pytest
from tests.unit.models.graph_runs import BatchRun, relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tokenizers import Tokenizer

import lineside_models
from lineside.engine.bundle import CHAT_TEMPLATE, MANIFEST, TOKENIZER, WEIGHTS, Bundle, open_bundle
from lineside_models.checkpoint import open_checkpoint, tensor_shapes
from lineside_models.cli import main
from lineside_models.fetch import cache_directory, fetch
from lineside_models.graph.dialect_ort import lower_ort
from lineside_models.graph.store import WeightStore
from lineside_models.perplexity import calibration_text, measure_perplexity
from lineside_models.recipe import read_recipe
from lineside_models.safetensors_file import read_safetensors
from lineside_models.tokenizer import read_text_side

RECIPE = "smollm2-135m-instruct"
QWEN = "qwen2.5-coder-0.5b-instruct"
TEXTS = (
    "The conveyor stopped at 12:45, don't restart.",
    "请检查三号电机的轴承温度：85℃",
    "<|im_start|>user\n  x = [1,2]\n\n\tE-042 🏭<|im_end|>\n",
    "I'LL re-check ²³ naïve   spaces \r\n\r\n end  ",
)
# Ids as llama.cpp gives them; scripts/proof compares hundreds of strings with llama.cpp itself.
# fmt: off
IDS = {
    RECIPE: (
        [504, 37816, 8976, 418, 216, 33, 34, 42, 36, 37, 28, 1326, 982, 26389, 30],
        [16313, 132, 177, 113, 218, 177, 40310, 7906, 227, 48980, 16821, 130, 14483, 135, 11567, 42019, 129,
         27898, 140, 177, 133, 119, 43488, 24713, 40, 37, 13993, 221],
        [1, 4093, 3805, 1792, 446, 933, 33, 28, 34, 77, 1116, 197, 53, 29, 32, 36, 34, 15107, 233, 251,
         2, 198],
        [57, 23, 16421, 298, 29, 5875, 216, 19133, 39050, 15486, 46494, 256, 5600, 216, 18682, 1112, 256],
    ),
    QWEN: (
        [785, 49141, 10497, 518, 220, 16, 17, 25, 19, 20, 11, 1513, 944, 17024, 13],
        [14880, 101071, 44991, 17992, 107114, 9370, 111139, 104273, 5122, 23, 20, 144105],
        [151644, 872, 198, 220, 856, 284, 508, 16, 11, 17, 2533, 22784, 12, 15, 19, 17, 11162, 237, 255,
         151645, 198],
        [40, 6, 4086, 312, 15934, 220, 29456, 43201, 94880, 586, 256, 12621, 23341, 835, 256],
    ),
}
# fmt: on


def build_digest() -> str:
    """Changes with any line of the build's code or recipes."""
    package = Path(lineside_models.__file__).parent
    files = [*package.rglob("*.py"), *(package.parent / "recipes").glob("*.toml")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def checkpoint():
    return open_checkpoint(fetch(read_recipe(RECIPE), lambda _: None))


@pytest.fixture(scope="session")
def bundles(checkpoint):
    """Bundle of a weight type, built by the command unless it is in the cache."""

    def bundle(weights: str) -> Bundle:
        path = cache_directory() / "test-bundles" / f"{RECIPE}-{weights}-{build_digest()}"
        if not (path / MANIFEST).is_file():
            assert main(["build", RECIPE, "--output", str(path), "--weights", weights]) == 0
        return open_bundle(path)

    return bundle


@pytest.mark.parametrize("weights", ["int8", "int4", "fp32"])
def test_logits_against_the_reference(bundles, checkpoint, tmp_path, weights: str) -> None:
    bundle = bundles(weights)
    store = WeightStore(read_safetensors(bundle.file(WEIGHTS)))
    lookup = stored_lookup(store, bundle.manifest.geometry)
    if weights == "fp32":
        shapes = tensor_shapes(checkpoint.architecture)
        lookup = lambda name: checkpoint.rows(name, 0, shapes[name][0])  # noqa: E731
    shutil.copyfile(bundle.file(WEIGHTS), tmp_path / WEIGHTS)
    lower_ort(checkpoint.architecture, store, 1024, tmp_path / "model.onnx", accuracy_level=0)
    ids = IDS[RECIPE][0]
    run = BatchRun(tmp_path / "model.onnx", 1)
    chunk = run.step(0, [ids[:9]], [9], range(9))
    steps = [run.step(0, [[ids[i]]], [i + 1], [0]) for i in range(9, len(ids))]
    expected = reference_logits(bundle.manifest.geometry, lookup, ids, range(len(ids)))
    (tmp_path / WEIGHTS).unlink()
    assert relative_error(np.concatenate([chunk, *steps]), expected) < 1e-4


def test_manifest_is_the_recipes(bundles) -> None:
    recipe, manifest = read_recipe(RECIPE), bundles("int8").manifest
    assert manifest.source.sha256 == recipe.sha256
    assert (manifest.name, manifest.languages, manifest.licence) == (RECIPE, ("en",), "Apache-2.0")
    assert manifest.architecture == recipe.architecture
    assert manifest.tokens.eos == (2, 0)


def test_perplexity_of_int8_is_within_a_hundredth_of_fp32(bundles) -> None:
    text = calibration_text("en")
    exact, rounded = (measure_perplexity(bundles(weights), text).perplexity for weights in ("fp32", "int8"))
    assert 30 < exact < 50
    assert rounded < 1.01 * exact
    assert measure_perplexity(bundles("int4"), text).perplexity < 1.25 * exact


def test_tokenisation_is_llama_cpps(bundles) -> None:
    check_tokenisation(Tokenizer.from_file(str(bundles("int8").file(TOKENIZER))), RECIPE)


def test_qwen_tokenisation_is_llama_cpps() -> None:
    recipe = read_recipe(QWEN)
    path = cache_directory() / "checkpoints" / recipe.file
    if not path.is_file():
        pytest.skip(f"run lineside-build fetch {QWEN} (491 MB) first")
    check_tokenisation(Tokenizer.from_str(read_text_side(open_checkpoint(path)).tokenizer_json), QWEN)


def check_tokenisation(tokenizer: Tokenizer, model: str) -> None:
    for text, ids in zip(TEXTS, IDS[model], strict=True):
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids, text
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_chat_template_ends_with_the_assistants_turn(bundles) -> None:
    template = jinja2.Environment().from_string(bundles("int8").file(CHAT_TEMPLATE).read_text("utf-8"))
    text = template.render(messages=[{"role": "user", "content": "hi"}], add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
