"""When the engine's thread hands over what it has delivered, and what it takes for a step's time."""

import time

import pytest
from tests.support.engines import CountingEngine
from tests.support.tiny import tiny_bundle

from lineside.serving.commands import Submit
from lineside.serving.request import Principal, Request, Sampling
from lineside.serving.scheduler import Scheduler
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import Tokenizer
from lineside.serving.worker import Worker


def generation(tokenizer, name, prompt_tokens):
    prompt = tuple(range(1, prompt_tokens + 1))
    now_ns = time.monotonic_ns()
    request = Request(name, prompt, now_ns + 10**11, Principal("p", "t"), Sampling(max_tokens=20))
    return Generation(request, tokenizer, None, 64, lambda _: None, now_ns)


def test_everything_is_handed_over_before_a_chunk_is_read(tmp_path):
    tokenizer, heard = Tokenizer(tiny_bundle(tmp_path / "bundle")), []
    worker = Worker(CountingEngine(vocab_size=258), heard.append, pytest.fail)
    worker.send(Submit(generation(tokenizer, "short", 1)))
    worker.turn()
    assert heard == [False], "a step of one token"
    worker.send(Submit(generation(tokenizer, "long", 15)))
    worker.turn()
    assert heard == [False, True, False]
    worker.turn()
    assert heard == [False, True, False, False]


def test_copies_of_caches_are_no_part_of_what_a_chunk_takes(tmp_path, monkeypatch):
    class SlowlyCopying(CountingEngine):
        def copy_prefix(self, copy):
            time.sleep(0.5)
            super().copy_prefix(copy)

    took, engine = [], SlowlyCopying(vocab_size=258, slots=2, kept_slots=1)
    monkeypatch.setattr(Scheduler, "took", lambda _, batch, measured_ns: took.append(measured_ns))
    worker = Worker(engine, lambda _: None, pytest.fail)
    tokenizer = Tokenizer(tiny_bundle(tmp_path / "bundle"))
    for name in ("first", "alike"):
        worker.send(Submit(generation(tokenizer, name, 15)))
        worker.turn()
    assert len(engine.copies) == 1
    assert len(took) == 2
    assert max(took) < 0.5e9
