"""The recipes' models as their publishers configure them, tiny and random, against the reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.unit.models.graph_runs import BatchRun, relative_error
from tests.unit.models.published_configs import CONFIGS, THINKING_ID, write_published
from tests.unit.models.reference_decoder import reference_logits
from tests.unit.models.tiny_checkpoints import DTYPES, TOKENS, VOCAB

from lineside.engine.bundle import ONNX_MODEL, Bundle
from lineside.serving.tokenizer import Tokenizer
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import BuildError
from lineside_models.recipe import HubPlace, read_recipe

IDS = np.random.default_rng(3).integers(0, VOCAB, 40).tolist()


def options(name: str, **changes) -> BuildOptions:
    recipe = read_recipe(name)
    fields = {"name": name, "languages": recipe.languages, "licence": recipe.licence, "weights": "fp32"}
    fields |= {"max_seq_len": 512, "thinking_tokens": recipe.thinking_tokens}
    return BuildOptions(**fields | changes)


@pytest.fixture(scope="module", params=CONFIGS)
def built(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("published")
    tiny = write_published(directory / "hf", request.param)
    checkpoint = open_checkpoint(directory / "hf")
    manifest = build_bundle(checkpoint, directory / "b", options(request.param), lambda _: None)
    return request.param, tiny, Bundle(directory / "b", manifest)


def test_logits(built) -> None:
    name, tiny, bundle = built
    values = {n: v.astype(DTYPES["BF16"]) for n, v in tiny.values.items()}
    # DeepSeek's 0528 takes back what YaRN would multiply by: its attn_factor is one over 0.1 ln 4 + 1.
    rope = (tiny.angles(), 1.0)
    found = BatchRun(bundle.path / ONNX_MODEL, 1).step(0, [IDS], [40], [39])
    expected = reference_logits(bundle.manifest.geometry, values.__getitem__, IDS, [39], rope=rope)
    assert relative_error(found, expected) < 1e-4
    assert read_recipe(name).architecture == bundle.manifest.architecture


def test_thinking_is_as_the_recipe_says(built) -> None:
    name, _, bundle = built
    recipe = read_recipe(name)
    found = bundle.manifest.thinking
    assert (found and found.tokens) == recipe.thinking_tokens
    assert recipe.thinking_tokens == (None if "2.5" in name else 0 if name.startswith("qwen3") else 256)


def test_a_prompt_has_one_beginning_and_the_thought_in_its_place(built) -> None:
    name, _, bundle = built
    tokenizer = Tokenizer(bundle)
    for budget in (0, 9):
        ids = tokenizer.encode(tokenizer.chat([("system", "s"), ("user", "u")], budget))
        assert ids.count(TOKENS.index("<|endoftext|>")) == name.startswith("deepseek")
        marks = [token - THINKING_ID for token in ids if token >= THINKING_ID]
        assert marks == ([] if "2.5" in name else [0] if budget else [0, 1])


def test_places_and_digests() -> None:
    for name in CONFIGS:
        recipe = read_recipe(name)
        assert [type(place).__name__ for place in recipe.place] == ["PathPlace", "HubPlace"]
        hub = recipe.place[1]
        assert isinstance(hub, HubPlace)
        assert hub.file == recipe.file
        assert len(recipe.sha256) == 64


def test_who_builds_may_say_how_long_it_thinks(tmp_path) -> None:
    write_published(tmp_path / "hf", "qwen3-0.6b")
    checkpoint = open_checkpoint(tmp_path / "hf")
    wanted = options("qwen3-0.6b", thinking_tokens=64)
    assert build_bundle(checkpoint, tmp_path / "b", wanted, lambda _: None).thinking.tokens == 64
    for refused in (-1, 512):
        with pytest.raises(BuildError, match=f"thinking_tokens {refused} is outside 0 to 511"):
            wanted = options("qwen3-0.6b", thinking_tokens=refused)
            build_bundle(checkpoint, tmp_path / "c", wanted, lambda _: None)


def test_a_directory_without_a_recipe_thinks_as_its_template_suggests(tmp_path) -> None:
    for name, tokens in (("qwen3-0.6b", 0), ("deepseek-r1-distill-qwen-1.5b", 512 // 4)):
        write_published(tmp_path / name, name)
        wanted = options(name, thinking_tokens=None)
        manifest = build_bundle(open_checkpoint(tmp_path / name), tmp_path / "b", wanted, lambda _: None)
        assert manifest.thinking.tokens == tokens


def test_marks_that_are_no_tokens_of_their_own_make_no_reasoning_model(tmp_path) -> None:
    write_published(tmp_path / "hf", "qwen3-0.6b")
    file = tmp_path / "hf" / "tokenizer.json"
    settings = json.loads(file.read_text())
    marks = [token for token in settings["added_tokens"] if "think" in token["content"]]
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token not in marks]
    settings["model"]["vocab"] |= {token["content"]: token["id"] for token in marks}
    file.write_text(json.dumps(settings))
    wanted = options("qwen3-0.6b")
    manifest = build_bundle(open_checkpoint(tmp_path / "hf"), tmp_path / "b", wanted, lambda _: None)
    assert manifest.thinking is None
