"""When the engine's thread hands over what it has delivered, and what it takes for a step's time."""

import time

import pytest
from tests.support.engines import CountingEngine
from tests.support.tiny import tiny_bundle

from lineside.serving.commands import Submit
from lineside.serving.delivery import Delivery
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

    class Asked(Delivery):
        def due(self, everything):
            heard.append(everything)
            return super().due(everything)

    worker = Worker(CountingEngine(vocab_size=258), Asked(lambda _: None), pytest.fail)
    worker.send(Submit(generation(tokenizer, "short", 1)))
    worker.turn()
    assert heard == [False], "a step of one token"
    worker.send(Submit(generation(tokenizer, "long", 15)))
    worker.turn()
    assert heard == [False, True, False]
    worker.turn()
    assert heard == [False, True, False, False]


@pytest.mark.parametrize(("every_ns", "looks"), [(10**15, [1, 1, 1, 2, 2, 2]), (0, [1, 2, 3, 4, 5, 6])])
def test_hopeless_ones_are_looked_for_now_and_then_and_where_one_has_come(
    tmp_path, monkeypatch, every_ns, looks
):
    looked, counts = [], []
    monkeypatch.setattr(Scheduler, "hopeless", lambda _, now_ns: looked.append(now_ns) or [])
    monkeypatch.setattr("lineside.serving.worker.LOOK_NS", every_ns)
    worker = Worker(CountingEngine(vocab_size=258), Delivery(lambda _: None), pytest.fail)
    tokenizer = Tokenizer(tiny_bundle(tmp_path / "bundle"))
    for name in ("a", "b"):
        worker.send(Submit(generation(tokenizer, name, 1)))
        for _ in range(3):
            worker.turn()
            counts.append(len(looked))
    assert counts == looks


def test_copies_of_caches_are_no_part_of_what_a_chunk_takes(tmp_path, monkeypatch):
    class SlowlyCopying(CountingEngine):
        def copy_prefix(self, copy):
            time.sleep(0.5)
            super().copy_prefix(copy)

    took, engine = [], SlowlyCopying(vocab_size=258, slots=2, kept_slots=1)
    monkeypatch.setattr(Scheduler, "took", lambda _, batch, measured_ns: took.append(measured_ns))
    worker = Worker(engine, Delivery(lambda _: None), pytest.fail)
    tokenizer = Tokenizer(tiny_bundle(tmp_path / "bundle"))
    for name in ("first", "alike"):
        worker.send(Submit(generation(tokenizer, name, 15)))
        worker.turn()
    assert len(engine.copies) == 1
    assert len(took) == 2
    assert max(took) < 0.5e9
