import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks import concurrency
from benchmarks.record import Record
from benchmarks.streams import Heard


def test_the_bound_is_prompts_one_by_one_and_steps_of_all_slots():
    seconds = concurrency.SLOTS * 0.5 + (concurrency.TOKENS - 1) * 0.1
    assert concurrency.bound_of(0.5, 0.1) == pytest.approx(concurrency.SLOTS * concurrency.TOKENS / seconds)


def test_throughput_counts_from_the_first_call_to_the_last_end():
    heard = [Heard(10.0, (11.0,), 12.0, 30, 1), Heard(10.5, (11.0,), 14.0, 50, 1)]
    assert concurrency.throughput(heard) == pytest.approx(20.0)


def test_ratios_are_of_eight_clients_round_by_round():
    found = {f"{clients} clients": [float(clients)] * 2 for clients in concurrency.CLIENTS}
    found |= {"8 clients": [9.0, 16.0], "bound": [10.0, 20.0], "llama.cpp": [6.0, 8.0]}
    record = Record("concurrency")
    concurrency.summarise(found, record)
    assert record.metrics["fraction_of_bound_at_8"] == pytest.approx(0.85)
    assert record.metrics["throughput_ratio_to_llama_cpp_8_sequences"] == pytest.approx(1.75)
    assert record.metrics["tokens_per_s_32_clients"] == 32.0
    assert record.samples["tokens_per_s"] == found
    assert "llama.cpp, 8 sequences" in record.charts["clients"]


def test_urgent_requests_are_compared_at_their_95th_percentile():
    record = Record("concurrency")
    concurrency.compare([1.0] * 19 + [2.0, 2.0], [1.0] * 19 + [3.0, 9.0], record)
    assert record.metrics["high_severity_p95_overload_over_unloaded"] == pytest.approx(1.5)
    assert record.samples["critical_s"]["beside the crowd"][-1] == 9.0
