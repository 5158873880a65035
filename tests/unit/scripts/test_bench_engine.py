import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks import engine, overhead
from benchmarks.models import SMOLLM2
from benchmarks.record import Record


def samples(prefill_s, decode_s):
    return [
        {"prefill_s": prefill, "decode_s": decode}
        for prefill, decode in zip(prefill_s, decode_s, strict=True)
    ]


def summarised(perplexity):
    found = {
        engine.OURS: samples([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]),
        "llama.cpp Q4_1": samples([1.5, 1.5, 9.0], [3.0, 3.0, 3.0]),
        "llama.cpp Q8_0": samples([2.0, 2.0, 2.0], [2.5, 2.5, 2.5]),
        engine.GENAI: samples([0.5, 0.5, 0.5], [4.0, 4.0, 4.0]),
    }
    record = Record("engine")
    engine.summarise(SMOLLM2, engine.Runs(found, perplexity), record)
    return record


def test_a_ratio_above_one_says_that_ours_is_faster_than_the_fastest_of_equal_quality():
    record = summarised(
        {engine.OURS: 40.0, "llama.cpp Q4_1": 40.3, "llama.cpp Q8_0": 39.0, engine.GENAI: 40.0}
    )
    assert record.metrics["smollm2_prefill_ratio"] == pytest.approx(1.5)
    assert record.metrics["smollm2_decode_ratio"] == pytest.approx(1.25)
    assert record.metrics["smollm2_prefill_ratio_to_genai"] == pytest.approx(0.5)
    assert record.metrics["smollm2_decode_tokens_per_s"] == pytest.approx(engine.TOKENS / 2.0)
    assert record.facts["smollm2_prefill_best_peer_of_equal_quality"] == "llama.cpp Q4_1"


def test_a_faster_peer_of_worse_quality_is_left_out_and_every_perplexity_is_told():
    record = summarised(
        {engine.OURS: 40.0, "llama.cpp Q4_1": 41.0, "llama.cpp Q8_0": 40.0, engine.GENAI: 40.0}
    )
    assert record.metrics["smollm2_prefill_ratio"] == pytest.approx(2.0)
    assert record.metrics["smollm2_perplexity"] == 40.0
    assert record.metrics["smollm2_perplexity_llama_cpp_q4_1"] == 41.0
    assert record.metrics["smollm2_perplexity_onnxruntime_genai"] == 40.0


def test_a_step_s_overhead_is_what_the_engine_is_slower_and_what_lies_between():
    record = Record("engine")
    found = {"engine": [(0.010, 0.0)] * 3, "daemon": [(0.011, 0.0005), (0.0105, 0.0004), (0.020, 0.0006)]}
    overhead.summarise("smollm2_{}_batch_8", found, record)
    assert record.metrics["smollm2_step_ms_batch_8"] == pytest.approx(10.0)
    assert record.metrics["smollm2_step_overhead_fraction_batch_8"] == pytest.approx(0.15)
    assert record.metrics["smollm2_step_slowdown_fraction_batch_8"] == pytest.approx(0.10)
    assert record.metrics["smollm2_step_between_fraction_batch_8"] == pytest.approx(0.05)


def test_a_step_is_reckoned_from_the_daemon_s_own_counters(monkeypatch):
    """Ten decoding steps in .2 s, two chunks beside them; .024 s between the twelve."""
    pages = iter(
        [
            dict.fromkeys(
                (overhead.DECODE_S, overhead.DECODE_COUNT, overhead.CHUNK_COUNT, overhead.BETWEEN_S), 1.0
            ),
            {
                overhead.DECODE_S: 1.2,
                overhead.DECODE_COUNT: 11.0,
                overhead.CHUNK_COUNT: 3.0,
                overhead.BETWEEN_S: 1.024,
            },
        ]
    )
    daemon = SimpleNamespace(address="127.0.0.1:1", metrics=lambda: next(pages))
    monkeypatch.setattr(overhead, "opened", lambda *_: iter([1, 2, 3]))
    engine_s, between_s = overhead.step_of(daemon, ["alone"], 0.0)
    assert engine_s == pytest.approx(0.02)
    assert between_s == pytest.approx(0.002)
