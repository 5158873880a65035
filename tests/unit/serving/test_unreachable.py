"""Requests that are given up because their deadline cannot be met any more."""

import time

import pytest
from tests.support.engines import CountingEngine
from tests.support.tiny import tiny_bundle

from lineside.engine.base import Costs
from lineside.errors import Reason
from lineside.serving.commands import Submit
from lineside.serving.delivery import Delivery
from lineside.serving.request import EndEvent, Principal, Request, Sampling
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import Tokenizer
from lineside.serving.worker import Worker

S = 1_000_000_000
# 8 tokens in one call take 8 s, which no draft makes cheaper than 0.9 s each.
COSTS = Costs((S,) * 4, 0, S)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer(tiny_bundle(tmp_path_factory.mktemp("bundle")))


def heard_of(tokenizer, prompt_tokens, expected_tokens, left_s):
    """The events of a request with `left_s` to go, after one turn, and whether the engine ran."""
    engine = CountingEngine(vocab_size=258, costs=COSTS)
    worker = Worker(engine, Delivery(lambda _: None), pytest.fail)
    events = []
    now_ns = time.monotonic_ns()
    request = Request(
        "r",
        tuple(range(1, prompt_tokens + 1)),
        now_ns + left_s * S,
        Principal("p", "t"),
        Sampling(max_tokens=20),
        expected_tokens=expected_tokens,
    )
    worker.send(Submit(Generation(request, tokenizer, None, 64, events.append, now_ns)))
    worker.turn()
    return events, bool(engine.batches)


@pytest.mark.parametrize(
    ("prompt_tokens", "expected_tokens", "left_s", "runs"),
    [
        (10, 1, 8, False),  # 11 s at least, of which 9 tenths
        (10, 1, 12, True),
        (1, 20, 8, False),  # 10 tokens are half of what is expected
        (1, 20, 12, True),
    ],
)
def test_one_is_given_up_as_soon_as_not_even_the_best_case_is_in_time(
    tokenizer, prompt_tokens, expected_tokens, left_s, runs
):
    events, ran = heard_of(tokenizer, prompt_tokens, expected_tokens, left_s)
    ends = [event for event in events if isinstance(event, EndEvent)]
    assert ran is runs
    assert [end.reason for end in ends] == ([] if runs else [Reason.UNREACHABLE])
