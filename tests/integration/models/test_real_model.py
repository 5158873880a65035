"""The recipe of SmolLM2-135M-Instruct from its place to a bundle: logits, perplexity, tokenisation.

The checkpoint (98 MB) is fetched once into the cache directory; bundles are kept there too, by the digest of
the build's code and the weight type, and other tests may use them.
"""

from __future__ import annotations

import shutil

import jinja2
import numpy as np
import pytest
from tests.support.bundles import recipe_bundle
from tests.unit.models.graph_runs import BatchRun, relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tokenizers import Tokenizer

from lineside.engine.bundle import CHAT_TEMPLATE, TOKENIZER, WEIGHTS, Bundle, open_bundle
from lineside_models.checkpoint import open_checkpoint
from lineside_models.fetch import fetch
from lineside_models.graph.dialect_ort import lower_ort
from lineside_models.graph.store import WeightStore
from lineside_models.perplexity import calibration_text, measure_perplexity
from lineside_models.recipe import read_recipe
from lineside_models.safetensors_file import read_safetensors

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


@pytest.fixture(scope="session", params=[RECIPE, QWEN])
def recipe(request):
    return read_recipe(request.param)


@pytest.fixture(scope="session")
def checkpoint(recipe):
    return open_checkpoint(fetch(recipe, lambda _: None))


def bundle(recipe, weights: str = "int8") -> Bundle:
    return open_bundle(recipe_bundle(recipe.name, weights))


def test_logits_against_the_reference(recipe, checkpoint, tmp_path) -> None:
    built = bundle(recipe)
    store = WeightStore(read_safetensors(built.file(WEIGHTS)))
    shutil.copyfile(built.file(WEIGHTS), tmp_path / WEIGHTS)
    lower_ort(checkpoint.architecture, store, 1024, tmp_path / "model.onnx", accuracy_level=0)
    ids = IDS[recipe.name][0]
    run = BatchRun(tmp_path / "model.onnx", 1)
    chunk = run.step(0, [ids[:9]], [9], range(9))
    steps = [run.step(0, [[ids[i]]], [i + 1], [0]) for i in range(9, len(ids))]
    lookup = stored_lookup(store, built.manifest.geometry)
    expected = reference_logits(built.manifest.geometry, lookup, ids, range(len(ids)))
    assert relative_error(np.concatenate([chunk, *steps]), expected) < 1e-4


def test_manifest_is_the_recipes(recipe) -> None:
    manifest = bundle(recipe).manifest
    assert manifest.source.sha256 == recipe.sha256
    assert (manifest.name, manifest.languages) == (recipe.name, recipe.languages)
    assert manifest.licence == "Apache-2.0"
    assert manifest.architecture == recipe.architecture


def test_perplexity_of_int8_is_within_a_hundredth_of_fp32() -> None:
    """SmolLM2 alone: scripts/proof measures both models and every weight type."""
    recipe, text = read_recipe(RECIPE), calibration_text("en")
    exact, rounded, small = (
        measure_perplexity(bundle(recipe, weights), text).perplexity for weights in ("fp32", "int8", "int4")
    )
    assert 30 < exact < 50
    assert rounded < 1.01 * exact
    assert small < 1.25 * exact


def test_perplexity_by_row_is_within_two_hundredths_of_fp32() -> None:
    """The first down_proj of SmolLM2 has the least even of all inputs: its largest channels are apart."""
    recipe = read_recipe(RECIPE)
    by_row = bundle(recipe, "int8-rows")
    store = WeightStore(read_safetensors(by_row.file(WEIGHTS)))
    layers = range(by_row.manifest.geometry.layers)
    matrices = ("qkv", "o_proj", "gate_up", "down_proj")
    assert all(store.by_row(f"layers.{layer}.{matrix}") for layer in layers for matrix in matrices)
    assert store.by_row("embed")
    assert len(store.apart("embed")) == 16
    assert len(store.apart("layers.0.down_proj")) == 16
    # The channels of a text's first tokens, thousands of times what is usual.
    enormous = [layer for layer in layers[1:] if len(store.apart(f"layers.{layer}.down_proj"))]
    assert {2, 11, 28} <= set(enormous)
    assert len(enormous) < 12
    text = calibration_text("en")
    exact = measure_perplexity(bundle(recipe, "fp32"), text).perplexity
    assert measure_perplexity(by_row, text).perplexity < 1.02 * exact


def test_tokenisation_is_llama_cpps(recipe) -> None:
    check_tokenisation(Tokenizer.from_file(str(bundle(recipe).file(TOKENIZER))), recipe.name)


def check_tokenisation(tokenizer: Tokenizer, model: str) -> None:
    for text, ids in zip(TEXTS, IDS[model], strict=True):
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids, text
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_chat_template_ends_with_the_assistants_turn(recipe) -> None:
    template = jinja2.Environment().from_string(bundle(recipe).file(CHAT_TEMPLATE).read_text("utf-8"))
    text = template.render(messages=[{"role": "user", "content": "hi"}], add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
