"""What a generation delivers where its text is made late: the same as where it is made at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.engines import CountingEngine
from tests.support.tiny import tiny_bundle

from lineside.errors import Reason
from lineside.serving.commands import Submit
from lineside.serving.delivery import Delivery
from lineside.serving.request import EndEvent, Principal, Request, Sampling, TokenEvent
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import TextStream, Tokenizer
from lineside.serving.worker import Worker

VOCAB, OPEN_ID, CLOSE_ID, THINKING_VOCAB = 258, 258, 259, 260
NEVER = "never written"
# Of one byte, and of the bytes of two characters of two and three.
PIECES = [b"a", b"b", b" ", "é".encode(), "中".encode()]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer(tiny_bundle(tmp_path_factory.mktemp("bundle")))


def generation(tokenizer, heard, name="r", stop=(), **fields):
    sampling = Sampling(max_tokens=60, stop=stop)
    request = Request(name, (1,), 1 << 62, Principal("p", "t"), sampling, **fields)
    return Generation(request, tokenizer, None, 64, heard.append, 0)


def take(one, token, vocab=VOCAB):
    logits = np.zeros((1, vocab), np.float32)
    logits[0, token] = 1.0
    return one.take(logits, 1)


def ids_of(tokenizer, pieces):
    """Of bytes, cut where no character need end."""
    table = {spelt: number for number, spelt in enumerate(tokenizer.token_bytes()) if len(spelt) == 1}
    return [table[bytes([byte])] for byte in b"".join(pieces)]


def heard_with_stop_strings(tokenizer, ids):
    """The events, each joined with those before, where each token's text is made at once."""
    heard = []
    one = generation(tokenizer, heard, stop=(NEVER,))
    for token in ids:
        take(one, token)
    return heard


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=20),
    cut=st.integers(0, 2),
    asked=st.sets(st.integers(0, 60)),
)
def test_text_made_late_is_text_made_at_once_with_the_same_tokens(tokenizer, pieces, cut, asked):
    ids = ids_of(tokenizer, pieces)
    ids = ids[: len(ids) - cut]
    heard = []
    one = generation(tokenizer, heard)
    for index, token in enumerate(ids):
        take(one, token)
        if index in asked:
            one.speak()
    one.abort(Reason.CANCELLED, "", 2)
    *events, end = heard
    expected = heard_with_stop_strings(tokenizer, ids)
    assert isinstance(end, EndEvent)
    assert "".join(event.text for event in events) == "".join(event.text for event in expected)
    assert [t for event in events for t in event.tokens] == [t for event in expected for t in event.tokens]
    # Each event ends where one of a single token does: never within a character.
    texts = {"".join(event.text for event in expected[:count]) for count in range(len(expected) + 1)}
    assert {"".join(event.text for event in events[:count]) for count in range(len(events) + 1)} <= texts


def test_the_first_text_is_made_at_once_and_further_text_when_it_is_asked_for(tokenizer):
    heard = []
    one = generation(tokenizer, heard)
    first, *more = ids_of(tokenizer, ["é".encode(), b"abc"])
    take(one, first)
    assert heard == []
    take(one, more[0])
    assert heard == [TokenEvent("é", (first, more[0]))]
    for token in more[1:]:
        take(one, token)
    assert len(heard) == 1
    one.speak()
    one.speak()
    assert heard[1:] == [TokenEvent("abc", tuple(more[1:]))]


def test_an_answer_is_heard_before_the_thought_that_interrupts_it(tmp_path):
    tokenizer, heard = Tokenizer(tiny_bundle(tmp_path, thinking=8)), []
    one = generation(tokenizer, heard, thinking_tokens=8, show_thinking=True)
    a, b, c = ids_of(tokenizer, [b"abc"])
    for token in (a, b, OPEN_ID, c):
        take(one, token, THINKING_VOCAB)
    assert [(event.text, event.thinking) for event in heard] == [
        ("a", False),
        ("b", False),
        ("<think>", True),
        ("c", True),
    ]


def test_a_text_that_cannot_be_made_ends_its_own_request_alone(tokenizer, monkeypatch):
    letter = ids_of(tokenizer, [b"a"])[0]
    worker = Worker(
        CountingEngine(vocab_size=VOCAB, choose=lambda _: letter), Delivery(lambda _: None), pytest.fail
    )
    broken, whole = [], []
    one, other = generation(tokenizer, broken, "one"), generation(tokenizer, whole, "other")
    for work in (one, other):
        worker.send(Submit(work))
    worker.turn()
    read = TextStream.read

    def fails(stream, ids):
        if stream is one._text:
            raise ValueError("no text")
        return read(stream, ids)

    monkeypatch.setattr(TextStream, "read", fails)
    while len(whole) < 1 or not isinstance(whole[-1], EndEvent):
        worker.turn()
    assert [event.reason for event in broken if isinstance(event, EndEvent)] == [Reason.INTERNAL]
    assert "".join(event.text for event in whole[:-1]) == "a" * 60


def test_one_that_is_given_up_ends_for_that_reason_although_its_last_text_cannot_be_made(
    tokenizer, monkeypatch
):
    heard = []
    one = generation(tokenizer, heard)
    for token in ids_of(tokenizer, [b"ab"]):
        take(one, token)
    monkeypatch.setattr(TextStream, "read", lambda *_: 1 / 0)
    one.abort(Reason.DEADLINE, "", 2)
    assert heard[-1].reason is Reason.DEADLINE
