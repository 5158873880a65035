"""The build from end to end on tiny checkpoints, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.models.tiny_checkpoints import END, TOKENS, VOCAB, Tiny, write_gguf, write_huggingface
from tokenizers import Tokenizer

from lineside.engine.bundle import MANIFEST, WEIGHTS, open_bundle, read_manifest, sha256_file
from lineside_models import room
from lineside_models.build import BuildOptions, build_bundle, work_of
from lineside_models.checkpoint import open_checkpoint
from lineside_models.cli import main
from lineside_models.errors import BuildError
from lineside_models.perplexity import calibration_text, measure_perplexity

ROOT = Path(__file__).parents[3]


def options(**changes) -> BuildOptions:
    fields = {"name": "tiny", "languages": ("en", "zh"), "licence": "MIT", "max_seq_len": 128}
    return BuildOptions(**fields | changes)


def build(tmp_path: Path, output: str = "b", **changes) -> Path:
    path = tmp_path / "t.gguf"
    if not path.exists():
        write_gguf(path, Tiny("qwen2"))
    build_bundle(open_checkpoint(path), tmp_path / output, options(**changes), lambda _: None)
    return tmp_path / output


def test_manifest(tmp_path) -> None:
    manifest = open_bundle(build(tmp_path, weights="int4")).manifest
    tiny = Tiny("qwen2")
    assert (manifest.name, manifest.architecture, manifest.precision) == ("tiny", "qwen2", "int4")
    assert manifest.max_seq_len == 128
    assert manifest.languages == ("en", "zh")
    assert manifest.parameters == sum(values.size for values in tiny.values.values())
    assert manifest.geometry.vocab_size == VOCAB
    assert manifest.tokens.eos[0] == TOKENS.index(END)
    assert manifest.source.file == "t.gguf"
    assert manifest.source.sha256 == sha256_file(tmp_path / "t.gguf")


def test_no_weight_is_stored_twice(tmp_path) -> None:
    bundle = build(tmp_path, weights="fp32")
    sizes = {p.name: p.stat().st_size for p in bundle.iterdir()}
    values = sum(v.nbytes for v in Tiny("qwen2").values.values())
    assert values <= sizes[WEIGHTS] < values + 8192
    assert sizes["model.onnx"] < values / 2


@pytest.mark.parametrize("weights", ["int8", "int4", "fp32"])
def test_same_input_same_bytes(tmp_path, weights: str) -> None:
    one, other = (build(tmp_path, output, weights=weights) for output in ("one", "other"))
    assert (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()


def test_source_of_a_directory_depends_on_every_shard(tmp_path) -> None:
    def source(seed: int, name: str):
        path = write_huggingface(tmp_path / name / "model", Tiny("qwen2", seed=seed), shards=2)
        build_bundle(open_checkpoint(path), tmp_path / name / "b", options(), lambda _: None)
        return read_manifest(tmp_path / name / "b").source

    assert source(1, "a") == source(1, "b")
    assert source(1, "a").file == "model"
    assert source(2, "c").sha256 != source(1, "a").sha256


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_weight_that_is_no_number_is_named_as_in_the_file(tmp_path, bad: str) -> None:
    tiny = Tiny("qwen3")
    tiny.values["layers.1.k_norm"] = tiny.values["layers.1.k_norm"].copy()
    tiny.values["layers.1.k_norm"][3] = float(bad)
    checkpoint = open_checkpoint(write_huggingface(tmp_path / "hf", tiny, "BF16"))
    with pytest.raises(BuildError, match=r"model\.layers\.1\.self_attn\.k_norm\.weight holds values"):
        build_bundle(checkpoint, tmp_path / "b", options(), lambda _: None)
    assert not (tmp_path / "b").exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path) -> None:
    path = write_huggingface(tmp_path / "hf", Tiny("qwen2"))
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.add_tokens([f"word{number}" for number in range(5)])
    tokenizer.save(str(path / "tokenizer.json"))
    with pytest.raises(BuildError) as caught:
        build_bundle(open_checkpoint(path), tmp_path / "b", options(), lambda _: None)
    expected = f"'word4' of the tokenizer has id {VOCAB}, model.embed_tokens.weight has {VOCAB} rows"
    assert expected in caught.value.message
    assert "tokenizer files" in caught.value.hint


@pytest.mark.parametrize("length", [63, 257, 0, -1])
def test_max_seq_len_out_of_bounds(tmp_path, length: int) -> None:
    with pytest.raises(BuildError, match="64 to 256"):
        build(tmp_path, max_seq_len=length)
    assert not (tmp_path / "b").exists()


def test_a_failing_build_leaves_the_old_bundle(tmp_path) -> None:
    bundle = build(tmp_path)
    before = (bundle / MANIFEST).read_bytes()

    def out_of_space(_: int) -> None:
        raise OSError(28, "No space left on device", str(bundle))

    with pytest.raises(BuildError, match="No space left"):
        build_bundle(open_checkpoint(tmp_path / "t.gguf"), bundle, options(name="new"), out_of_space)
    assert (bundle / MANIFEST).read_bytes() == before
    open_bundle(bundle)


def test_perplexity_is_of_every_token_but_the_first_of_a_window(tmp_path) -> None:
    """Against the float64 reference, over a text longer than a window."""
    import math

    import numpy as np
    from tests.unit.models.reference_decoder import reference_logits

    bundle = open_bundle(build(tmp_path, weights="fp32"))
    text = tmp_path / "text"
    text.write_text("the inner rotor turns on the other side " * 6)
    ids = Tokenizer.from_file(str(bundle.file("tokenizer.json"))).encode(text.read_text()).ids
    assert 128 < len(ids) < 256
    losses = []
    for window in (ids[:128], ids[128:]):
        values = Tiny("qwen2").values.__getitem__
        logits = reference_logits(bundle.manifest.geometry, values, window, range(len(window) - 1))
        normaliser = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
        losses += list(normaliser - logits[range(len(window) - 1), window[1:]])
    result = measure_perplexity(bundle, text)
    assert result.tokens == len(losses) == len(ids) - 2
    assert result.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-3)


def test_calibration_texts_are_there() -> None:
    for language in ("en", "zh"):
        assert len(calibration_text(language).read_text("utf-8")) > 900


# The command.


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = f"{ROOT}/daemon:{ROOT}/models"
    return subprocess.run(
        [sys.executable, "-m", "lineside_models", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_build_from_a_file_then_perplexity(tmp_path, capsys) -> None:
    path = write_gguf(tmp_path / "t.gguf", Tiny("llama"))
    output = tmp_path / "b"
    code = main(
        [
            "build",
            str(path),
            "--output",
            str(output),
            "--max-seq-len",
            "64",
            "--language",
            "zh",
            "--weights",
            "int4",
        ]
    )
    assert code == 0
    assert capsys.readouterr().out == f"{output}\n"
    manifest = open_bundle(output).manifest
    assert (manifest.name, manifest.languages, manifest.precision) == ("t", ("zh",), "int4")
    text = tmp_path / "words.txt"
    text.write_text("on the inner side")
    assert main(["perplexity", str(output), "--text", str(text)]) == 0
    assert capsys.readouterr().out.startswith("words.txt: ")


def test_recipes_are_listed(capsys) -> None:
    assert main(["recipes"]) == 0
    assert "qwen2.5-coder-0.5b-instruct" in capsys.readouterr().out


def test_failure_is_one_and_says_what_to_do(tmp_path) -> None:
    for arguments in (
        ["build", "no-such-recipe", "--output", tmp_path / "b"],
        ["build", tmp_path / "absent.gguf", "--output", tmp_path / "b"],
        ["perplexity", tmp_path],
    ):
        done = command(*arguments)
        assert done.returncode == 1, arguments
        assert done.stderr.startswith("error: ")
        assert "what to do: " in done.stderr
        assert "Traceback" not in done.stderr


def test_usage_error_is_two() -> None:
    done = command("build", "x", "--output", "/tmp/x", "--weights", "int2")
    assert done.returncode == 2
    assert "--weights" in done.stderr


def test_plain_progress_where_there_is_no_terminal(tmp_path) -> None:
    path = write_gguf(tmp_path / "t.gguf", Tiny("llama"))
    done = command("build", path, "--output", tmp_path / "b", "--max-seq-len", 64)
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert "building t ..." in done.stderr


@pytest.mark.parametrize("package", ["gguf", "onnx", "onnxruntime"])
def test_without_the_build_packages_it_names_what_to_install(package: str) -> None:
    code = f"import sys\nsys.modules[{package!r}] = None\nfrom lineside_models.cli import main\n"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/daemon:{ROOT}/models"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "lineside-build needs the build packages: pip install 'lineside[models]'\n"


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    code = (
        "import os, sys, builtins\n"
        "real = builtins.__import__\n"
        "def spy(name, *rest):\n"
        "    if name.startswith('onnxruntime'): assert os.environ.get('ORT_DISABLE_TELEMETRY') == '1', name\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = spy\n"
        "import lineside_models.cli\n"
        "assert 'onnxruntime' in sys.modules\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment["PYTHONPATH"] = f"{ROOT}/daemon:{ROOT}/models"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_interrupt_in_the_middle(tmp_path) -> None:
    """Ctrl-C while weights are written: exit 130, nothing left."""
    import signal

    tiny = Tiny("llama", layers=8, hidden=512, intermediate=4096, heads=8, head_dim=64)
    path = write_gguf(tmp_path / "t.gguf", tiny)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/daemon:{ROOT}/models"}
    arguments = [sys.executable, "-m", "lineside_models", "build", str(path), "--output", str(tmp_path / "b")]
    process = subprocess.Popen([*arguments, "--max-seq-len", "64", "--weights", "int4"], env=environment)
    partial = tmp_path / ".b.partial" / WEIGHTS
    deadline = time.monotonic() + 30
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["t.gguf"]


def test_rows_need_room_for_their_prompts(tmp_path) -> None:
    with pytest.raises(BuildError, match="--weights int8-rows needs a --max-seq-len of at least 128"):
        build(tmp_path, weights="int8-rows", max_seq_len=127)
    build(tmp_path, weights="int8-rows", max_seq_len=128)


def test_rows_are_chosen_by_prompts_of_ones_own(tmp_path) -> None:
    short, own = tmp_path / "short.txt", tmp_path / "own.txt"
    short.write_text("Too short.")
    own.write_text(
        "\n\n".join(f"Why does pump {number} lose pressure at {number} bar?" for number in range(99))
    )
    with pytest.raises(BuildError, match="fewer than 128 tokens"):
        build(tmp_path, weights="int8-rows", prompts=short)
    assert not (tmp_path / "b").exists()
    bundled, chosen = (
        build(tmp_path, output=name, weights="int8-rows", prompts=prompts)
        for name, prompts in (("bundled", None), ("own", own))
    )
    assert (bundled / WEIGHTS).read_bytes() != (chosen / WEIGHTS).read_bytes()


def test_a_model_beyond_fp16_is_told_to_stay_in_blocks(tmp_path) -> None:
    tiny = Tiny("llama")
    tiny.values["layers.0.gate_proj"] = tiny.values["layers.0.gate_proj"] * 1e4
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", tiny))
    with pytest.raises(BuildError) as caught:
        build_bundle(checkpoint, tmp_path / "b", options(weights="int8-rows"), lambda _: None)
    assert "--weights int8" in caught.value.hint
    build_bundle(checkpoint, tmp_path / "b", options(weights="int8"), lambda _: None)


def test_prompts_are_not_read_where_there_is_no_room(tmp_path, monkeypatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 1 kB\n")
    monkeypatch.setattr(room, "_MEMINFO", meminfo)
    with pytest.raises(BuildError, match="GB of memory are needed") as caught:
        build(tmp_path, weights="int8-rows")
    assert caught.value.hint.startswith("end other programs")
    assert caught.value.hint.endswith("--weights int8")
    build(tmp_path, weights="int8")


@pytest.mark.parametrize("weights", ["int4", "int4-rows"])
def test_all_the_work_is_told(tmp_path, weights: str) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", Tiny("qwen2")))
    told: list[int] = []
    build_bundle(checkpoint, tmp_path / "b", options(weights=weights), told.append)
    assert sum(told) == pytest.approx(work_of(checkpoint, options(weights=weights)), rel=0.02)
