"""What is reused of earlier prompts, and of those that were preempted, changes no token of an answer."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.engines import CountingEngine, next_token
from tests.support.greedy import PASSAGES, TRAFFIC, VOCAB, generate

from lineside.serving.request import Priority


@settings(max_examples=150, deadline=None)
@given(
    traffic=TRAFFIC,
    slots=st.integers(1, 3),
    kept=st.integers(0, 3),
    stay=st.integers(0, 3),
    levels=st.randoms(),
)
def test_every_token_depends_on_what_was_asked_alone(traffic, slots, kept, stay, levels):
    engine = CountingEngine(
        slots=slots, kept_slots=kept + stay, lasting_slots=stay, max_chunk_tokens=8, vocab_size=VOCAB
    )
    prompts, counts, joins = zip(*traffic, strict=True)
    priorities = [levels.choice(list(Priority)) for _ in prompts]
    lasting = [levels.random() < 0.5 for _ in prompts]
    written, _ = generate(engine, prompts, counts, joins, priorities, lasting=lasting)
    for index, prompt in enumerate(prompts):
        assert len(written[str(index)]) == counts[index]
        tokens = list(prompt)
        for token in written[str(index)]:
            assert token == next_token(tokens, VOCAB)
            tokens.append(token)


def test_prompts_that_begin_alike_do_reuse():
    engine = CountingEngine(slots=2, kept_slots=1, max_chunk_tokens=8, vocab_size=VOCAB)
    prompts = [PASSAGES[0] + PASSAGES[1], PASSAGES[2], PASSAGES[0] + PASSAGES[3]]
    _, reused = generate(engine, prompts, [3, 3, 3], [0, 20, 40])
    assert reused == {"0": 0, "1": 0, "2": len(PASSAGES[0])}
