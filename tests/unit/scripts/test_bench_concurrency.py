import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks import concurrency
from benchmarks.record import Record
from benchmarks.streams import Heard


def test_the_bound_is_prompts_one_by_one_and_steps_of_all_slots():
    seconds = concurrency.SLOTS * 0.5 + (concurrency.TOKENS - 1) * 0.1
    assert concurrency.bound_of(0.5, 0.1) == pytest.approx(concurrency.SLOTS * concurrency.TOKENS / seconds)


def test_throughput_is_of_the_time_in_which_every_client_has_more_to_ask():
    """From the first answer's end at 2 to the other client's last end at 12."""
    one = [Heard(0.0, (1.0, 2.0), (9, 1), 2.0, 10, 1), Heard(2.0, (5.0, 14.0), (20, 7), 14.0, 27, 1)]
    other = [Heard(0.0, (3.0,), (30,), 3.0, 30, 1), Heard(3.0, (12.0,), (50,), 12.0, 50, 1)]
    assert concurrency.throughput([one, other]) == pytest.approx((20 + 30 + 50) / 10)


def test_ratios_are_of_eight_clients_round_by_round():
    found = {f"{clients} clients": [float(clients)] * 2 for clients in concurrency.CLIENTS}
    found |= {"8 clients": [9.0, 16.0], "llama.cpp": [6.0, 8.0]}
    found |= {concurrency.BEFORE: [9.0, 20.0], concurrency.AFTER: [11.0, 20.0]}
    record = Record("concurrency")
    concurrency.summarise(found, record)
    assert record.metrics["fraction_of_bound_at_8"] == pytest.approx(0.85)
    assert record.metrics["bound_tokens_per_s"] == pytest.approx(15.0)
    assert record.metrics["bound_over_llama_cpp"] == pytest.approx((10 / 6 + 20 / 8) / 2)
    assert record.metrics["throughput_ratio_to_llama_cpp_8_sequences"] == pytest.approx(1.75)
    assert record.metrics["tokens_per_s_32_clients"] == 32.0
    assert record.samples["tokens_per_s"] == found
    assert "llama.cpp, 8 sequences" in record.charts["clients"]


def test_the_open_loop_s_arrivals_keep_their_rate_and_are_the_same_each_time():
    at_s = concurrency.instants(4.0, 2000)
    assert at_s == sorted(at_s) == concurrency.instants(4.0, 2000)
    assert at_s[-1] / 2000 == pytest.approx(1 / 4.0, rel=0.1)


def test_who_is_turned_away_in_the_open_loop_is_counted_and_not_timed(monkeypatch):
    rates = []

    def arriving(address, prompts, at_s):
        rates.append(len(at_s) / at_s[-1])
        return [1.0] * (len(prompts) - 2) + [None, None]

    monkeypatch.setattr(concurrency, "arriving", arriving)
    monkeypatch.setattr(concurrency, "texts_of", lambda _bundle, _length, count, _begin: ["a"] * count)
    record = Record("concurrency", metrics={"tokens_per_s_8_clients": 10.0 * concurrency.TOKENS})
    concurrency.open_loop(None, SimpleNamespace(address="nowhere"), record)
    assert rates == pytest.approx([10.0 * share for share in concurrency.SHARES], rel=0.4)
    assert rates[2] / rates[0] == pytest.approx(concurrency.SHARES[2] / concurrency.SHARES[0])
    assert record.metrics["open_loop_120_percent_refused"] == 2
    assert record.metrics["open_loop_50_percent_p95_s"] == 1.0
    assert "p95" in record.charts["open-loop"]


def test_requests_of_the_open_loop_wait_for_their_instant_and_for_nobody_else(monkeypatch):
    asked = []

    def generate(_channel, prompt, _tokens):
        asked.append((prompt, time.monotonic()))
        if prompt == "refused":
            raise grpc.RpcError
        time.sleep(0.3)
        return SimpleNamespace(ended_s=time.monotonic())

    monkeypatch.setattr(concurrency, "generate", generate)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    found = concurrency.arriving(f"127.0.0.1:{port}", ["one", "refused", "two"], [0.4, 0.45, 0.5])
    server.stop(None)
    instants = dict(asked)
    assert instants["two"] - instants["one"] == pytest.approx(0.1, abs=0.08)
    assert found[0] == pytest.approx(0.3, abs=0.2)
    assert found[1] is None


def test_urgent_requests_are_compared_at_their_95th_percentile():
    record = Record("concurrency")
    concurrency.compare([1.0] * 19 + [2.0, 2.0], [1.0] * 19 + [3.0, 9.0], record)
    assert record.metrics["high_severity_p95_overload_over_unloaded"] == pytest.approx(1.5)
    assert record.samples["critical_s"]["beside the crowd"][-1] == 9.0
