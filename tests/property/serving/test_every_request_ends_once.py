"""Every admitted request ends exactly once and every slot comes back, whatever happens."""

import random
import threading
import time
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.engines import CountingEngine
from tests.support.tiny import tiny_bundle

from lineside.errors import Reason
from lineside.serving.commands import Abort, Submit
from lineside.serving.delivery import Delivery
from lineside.serving.request import EndEvent, Principal, Priority, Request, Sampling
from lineside.serving.scoring import Scoring
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import Tokenizer
from lineside.serving.worker import Worker

VOCAB = 258
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "score", "abort", "fault", "pause"]),
        st.integers(1, 50),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, seed=st.integers(0, 2**32), stop=st.booleans())
def test_random_traffic(tmp_path_factory, actions, seed, stop):
    bundle = tiny_bundle(tmp_path_factory.getbasetemp() / "property-bundle")
    tokenizer = Tokenizer(bundle)
    engine = CountingEngine(vocab_size=VOCAB, slots=3, max_chunk_tokens=8, kept_slots=1)
    failures = []
    worker = Worker(engine, Delivery(lambda _: None), failures.append)
    ends: dict[str, list[EndEvent]] = {}
    done = threading.Event()
    chance = random.Random(seed)
    worker.start()

    def deliver(request_id, event):
        if isinstance(event, EndEvent):
            ends[request_id].append(event)
            if all(ends.values()):
                done.set()

    for number, (action, size, level) in enumerate(actions):
        if action in ("submit", "score"):
            name = str(number)
            ends[name] = []
            timeout_ns = chance.choice([10**10, 10**10, 10**6, 0])
            request = Request(
                name,
                tuple(range(1, size + 1)),
                time.monotonic_ns() + timeout_ns,
                Principal("p", "t"),
                Sampling(max_tokens=chance.randint(1, 40), temperature=chance.choice([0.0, 1.0]), seed=seed),
                priority=Priority(level),
                scored_tokens=chance.randint(1, size - 1) if action == "score" and size > 1 else 0,
            )
            done.clear()
            heard = partial(deliver, name)
            work = (
                Scoring(request, heard, time.monotonic_ns())
                if request.scored_tokens
                else Generation(request, tokenizer, None, 64, heard, time.monotonic_ns())
            )
            worker.send(Submit(work))
        elif action == "abort" and ends:
            worker.send(Abort(chance.choice(list(ends)), Reason.CANCELLED, "gone"))
        elif action == "fault":
            engine.fail_next = 1
        elif action == "pause":
            time.sleep(0.0005)
    if ends and not stop:
        assert done.wait(10), "a request never ended"
    assert worker.stop(10)
    assert all(len(one) == 1 for one in ends.values()), ends
    assert worker._scheduler.running == worker._scheduler.waiting == 0
    assert sorted(worker._scheduler._free) == [0, 1, 2]
    assert failures == []
