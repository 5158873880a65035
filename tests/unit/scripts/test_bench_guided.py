import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks import guided
from benchmarks.record import Record
from lineside.evaluation.cases import read_cases


class Process:
    """Writes the first answer that the schema allows, or none that it does."""

    def __init__(self, name, order, text=None):
        self.name, self.order, self.text = name, order, text

    def ask(self, op, prompt, json_schema, tokens):
        assert op == "guided"
        self.order.append((self.name, prompt))
        text = json.dumps(first_of(json.loads(json_schema))) if self.text is None else self.text
        return {"answer_s": 1.0, "others_cores": 0.0, "text": text}


def first_of(schema):
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return first_of(schema["anyOf"][0])
    return {name: first_of(part) for name, part in schema.get("properties", {}).items()}


def writer(process):
    tokenizer = SimpleNamespace(
        count=lambda text: len(text) // 4, chat=lambda turns: "".join(content for _, content in turns)
    )
    bundle = SimpleNamespace(manifest=SimpleNamespace(languages=("en",), max_seq_len=2048))
    return guided.WorkerWriter(process, bundle, tokenizer)


@pytest.fixture(scope="module")
def cases():
    read = read_cases(guided.DEMO / "reports.jsonl")
    return [case for case in read if case.lang == "en" and case.kind in ("code", "no_entry")][:4]


@pytest.fixture(scope="module")
def searcher():
    with guided.searcher_of_demo() as found:
        yield found


def answers_of(searcher, cases, order, peer_text=None):
    writers = {
        guided.OURS: writer(Process(guided.OURS, order)),
        guided.PEER: writer(Process(guided.PEER, order, peer_text)),
    }
    return anyio.run(partial(guided._answers, searcher, writers, cases, 0))


def test_both_are_given_the_same_prompts_and_take_turns_at_beginning(searcher, cases):
    order = []
    answers = answers_of(searcher, cases, order)
    assert len(answers) >= 2
    assert all(answer[name]["valid"] for answer in answers for name in (guided.OURS, guided.PEER))
    assert all(answer[guided.OURS]["right"] for answer in answers)
    prompts = {name: {prompt for who, prompt in order if who == name} for name in (guided.OURS, guided.PEER)}
    assert prompts[guided.OURS] == prompts[guided.PEER]
    begins = [name for name, _ in order[2::2]]  # the first two read the instructions
    assert begins[:2] == [guided.OURS, guided.PEER]


def test_a_text_outside_the_schema_is_no_valid_answer(searcher, cases):
    answers = answers_of(searcher, cases, [], "no JSON")
    assert not any(answer[guided.PEER][what] for answer in answers for what in ("valid", "right"))
    with pytest.raises(SystemExit, match="answered validly by both"):
        guided.summarise("x", answers, Record("guided"))


def one(seconds, *, right=True, valid=True):
    return {"answer_s": seconds, "right": right, "valid": valid, "others_cores": 0.5}


def test_times_are_of_reports_that_both_answered_and_the_worst_model_counts():
    record = Record("guided")
    record.metrics |= {"valid_fraction": 0.9, "agreement_with_labels_minus_peer": 0.25}
    answers = [
        {guided.OURS: one(1.0), guided.PEER: one(4.0)},
        {guided.OURS: one(1.0), guided.PEER: one(2.0)},
        {guided.OURS: one(3.0, right=False), guided.PEER: one(4.0)},
        {guided.OURS: one(9.0), guided.PEER: one(1.0, valid=False)},
    ]
    guided.summarise("x", answers, record)
    metrics = record.metrics
    assert metrics["x_time_ratio"] == 0.5
    assert metrics["x_reports_compared"] == 3
    assert metrics["x_right_fraction"] == 0.75
    assert metrics["x_llama_cpp_valid_fraction"] == 0.75
    assert metrics["x_others_cores"] == 0.5
    assert metrics["valid_fraction"] == 0.9
    assert metrics["agreement_with_labels_minus_peer"] == -0.25
    assert record.samples["x"] == answers
    assert "<svg" in record.charts["x"]
