import os
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks import engine, overhead, peers
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
    inside = [(0.011, 0.05), (0.0105, 0.03), (0.020, 0.06), (None, 0.05)]
    bare = overhead.Sample(0.010, 100.0)
    found = [(bare, overhead.Sample(step_s, 100.0, between)) for step_s, between in inside]
    overhead.summarise("smollm2_{}_batch_8", found, record)
    assert record.metrics["smollm2_step_ms_batch_8"] == pytest.approx(10.0)
    assert record.metrics["smollm2_step_slowdown_fraction_batch_8"] == pytest.approx(0.10)
    assert record.metrics["smollm2_step_between_fraction_batch_8"] == pytest.approx(0.05)
    assert record.metrics["smollm2_step_overhead_fraction_batch_8"] == pytest.approx(0.15)


class Clients:
    """Remembers what it was told, and whether it stood still for it."""

    def __init__(self):
        self.heard = []

    def ask(self, op, **_):
        self.heard.append(op)

    @contextmanager
    def stopped(self):
        self.heard.append("stop")
        yield
        self.heard.append("go on")


def measured_step(monkeypatch, counted, running):
    """Of a daemon whose counters grow by so much, with so many of two answers left; the clients.

    Both have written 10 tokens each when the counters are first looked at, 30 in the end.
    """
    before = dict.fromkeys(overhead.COUNTERS, 1.0)
    after = {name: 1.0 + more for name, more in zip(overhead.COUNTERS, counted, strict=True)}
    pages = iter(
        [
            {overhead.WRITTEN: 500.0},
            before | {overhead.WRITTEN: 520.0},
            after | {overhead.WRITTEN: 560.0, overhead.RUNNING: running},
        ]
    )
    clients = Clients()

    def metrics():
        clients.heard.append("page")
        return next(pages)

    monkeypatch.setattr(overhead.time, "sleep", lambda _: None)
    daemon = SimpleNamespace(metrics=metrics)
    return overhead.step_of(daemon, clients, ["one", "two"], 0.0), clients.heard


def test_a_step_is_reckoned_from_the_daemon_s_own_counters_while_clients_stand_still(monkeypatch):
    """Ten decoding steps in .2 s, chunks beside them in .3; .01 s between all of them."""
    sample, heard = measured_step(monkeypatch, [0.2, 10.0, 0.3, 0.01], 2.0)
    assert sample.step_s == pytest.approx(0.02)
    assert sample.between == pytest.approx(0.02)
    assert sample.past == overhead.PROMPT + 20
    assert heard == ["page", "begin", "stop", "page", "page", "go on", "end"]


def test_a_mean_of_a_few_decoding_steps_says_nothing(monkeypatch):
    sample, _ = measured_step(monkeypatch, [0.1, 9.0, 0.3, 0.01], 2.0)
    assert sample.step_s is None
    assert sample.between == pytest.approx(0.025)


def test_answers_that_ended_meanwhile_are_no_batch(monkeypatch):
    sample, heard = measured_step(monkeypatch, [0.2, 10.0, 0.3, 0.01], 1.0)
    assert sample is None
    assert heard[-1] == "end"


def test_a_stopped_worker_stands_still_and_then_goes_on():
    code = "import sys; [print('{}', flush=True) for _ in range(2) if _ == 0 or sys.stdin.readline()]"
    with peers.Worker([sys.executable, "-c", code]) as worker:
        with worker.stopped():
            assert state_of(worker) == "T"
        assert worker.ask("go on") == {}


def state_of(worker):
    """As the kernel tells it: T is stopped."""
    pid = worker._process.pid
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
