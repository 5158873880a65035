import pytest

from lineside.engine.base import Capabilities, Costs
from lineside.errors import Reason, RejectedError
from lineside.power.limit import Limit
from lineside.serving.admission import Admission, Live
from lineside.serving.request import Principal, Priority, Request

MS = 1_000_000
CAPABILITIES = Capabilities("t", "t", 2, 100, 16, 50, False, 0, Costs((10 * MS, 15 * MS), 4 * MS, 1 * MS))
ADMISSION = Admission(CAPABILITIES, max_waiting=1)
# As SmolLM2 in INT8 has on two cores.
SMOLLM2 = Costs((10_600_000, 13_400_000, 16_000_000, 18_300_000), 6_700_000, 1_890_000)
FOUR_SLOTS = Admission(Capabilities("t", "t", 4, 1024, 128, 50, False, 0, SMOLLM2), max_waiting=64)
LOW, NORMAL, HIGH, CRITICAL = sorted(Priority, reverse=True)


def request(prompt=10, deadline_ms=1000, expected=5):
    return Request("r", (1,) * prompt, deadline_ms * MS, Principal("p", "t"), expected_tokens=expected)


def refusal(new, live=(), now_ms=0):
    with pytest.raises(RejectedError) as caught:
        ADMISSION.check(Live(new), live, now_ms * MS)
    return caught.value


def test_a_request_that_fits_is_admitted():
    ADMISSION.check(Live(request()), [], 0)


def test_the_prompt_must_leave_room_for_a_token():
    ADMISSION.check(Live(request(prompt=99)), [], 0)
    error = refusal(request(prompt=100))
    assert (error.reason, error.field) == (Reason.TOO_LONG, "prompt")


def test_an_empty_prompt_is_invalid():
    assert refusal(request(prompt=0)).reason is Reason.INVALID


def test_the_queue_is_bounded_and_says_when_to_come_back():
    live = [Live(request())] * 3
    ADMISSION.check(Live(request()), live[:2], 0)
    error = refusal(request(), live)
    assert error.reason is Reason.OVERLOAD
    assert error.retry_after_ms >= 1


def test_a_deadline_in_the_past_is_expired():
    assert refusal(request(deadline_ms=5), now_ms=5).reason is Reason.EXPIRED


def test_a_deadline_that_cannot_be_met_is_refused_at_once():
    """10 prompt tokens cost 14 ms, 5 tokens 10 ms each: 64 ms."""
    ADMISSION.check(Live(request(deadline_ms=64)), [], 0)
    assert refusal(request(deadline_ms=63)).reason is Reason.DEADLINE


def test_prompts_that_are_not_read_yet_count_before_a_newcomer():
    """14 ms of another prompt, 14 ms of its own, 5 tokens at 15 ms beside the other: 103 ms."""
    ADMISSION.check(Live(request(deadline_ms=103)), [Live(request())], 0)
    assert refusal(request(deadline_ms=102), [Live(request())]).reason is Reason.DEADLINE


def test_what_is_written_already_no_longer_counts():
    fresh, nearly_done = Live(request(expected=50)), Live(request(expected=50), written_tokens=49)
    assert ADMISSION.wait_ns([nearly_done] * 2) < ADMISSION.wait_ns([fresh] * 2) / 10


def test_a_prompt_longer_than_a_chunk_is_counted_chunk_by_chunk():
    """Two chunks of 16 at 20 ms, one of 3 at 7 ms, one token at 10 ms."""
    assert ADMISSION.predict_ns(Live(request(prompt=35, expected=1)), []) == 57 * MS


def test_a_limit_of_a_step_s_sequences_is_one_of_those_that_share():
    """64 ms of the other, 64 of its own: one after the other."""
    limited = Admission(CAPABILITIES, 1, lambda: Limit(max_batch=1))
    assert limited.predict_ns(Live(request()), [Live(request())]) == 128 * MS


def test_what_is_cached_of_a_prompt_takes_no_time():
    """Of 32 prompt tokens 22 are cached: 14 ms for the others, 5 tokens at 10 ms."""
    new = Live(request(prompt=32, deadline_ms=64), cached_tokens=22)
    ADMISSION.check(new, [], 0)
    assert refusal(new.request).reason is Reason.DEADLINE


def test_what_was_cached_of_prompts_before_a_newcomer_takes_no_time_either():
    before = Live(request(prompt=32), cached_tokens=22)
    ADMISSION.check(Live(request(deadline_ms=103)), [before], 0)
    assert refusal(request(deadline_ms=103), [Live(before.request)]).reason is Reason.DEADLINE


def of(priority, *, begun=False, prompt=600, deadline_ms=15_000, **fields):
    asked = Request(
        "r",
        (1,) * prompt,
        deadline_ms * MS,
        Principal("p", "t"),
        priority=priority,
        expected_tokens=60,
        **fields,
    )
    return Live(asked, begun=begun)


@pytest.mark.parametrize("count", [4, 28, 67])
def test_a_critical_request_waits_for_none_that_is_less_urgent(count):
    """By the scheduler it takes a slot, the others stand still, but for steps beside its chunks."""
    live = [of(LOW, begun=index < 4) for index in range(count)]
    alone_ns = FOUR_SLOTS.predict_ns(of(CRITICAL), [])
    assert alone_ns == 4 * SMOLLM2.chunk(128) + SMOLLM2.chunk(88) + 60 * SMOLLM2.step(1)
    slowed_ns = of(CRITICAL).reading_ns(FOUR_SLOTS.capabilities) // 8
    assert FOUR_SLOTS.predict_ns(of(CRITICAL), live) == alone_ns + slowed_ns
    assert FOUR_SLOTS.check(of(CRITICAL), live, 0) is None


def test_a_request_waits_for_those_of_its_own_priority():
    live = [of(LOW, begun=index < 4) for index in range(28)]
    with pytest.raises(RejectedError) as caught:
        FOUR_SLOTS.check(of(LOW), live, 0)
    assert caught.value.reason is Reason.DEADLINE


def test_a_critical_request_waits_for_critical_ones():
    others, one = [of(LOW)] * 20, of(CRITICAL)
    reading_ns = one.reading_ns(FOUR_SLOTS.capabilities)
    assert FOUR_SLOTS.predict_ns(one, [of(CRITICAL)]) == 2 * reading_ns + 60 * SMOLLM2.step(2)
    many = [of(CRITICAL) for _ in range(5)]
    remaining_ns = sum(each.remaining_ns(FOUR_SLOTS.capabilities, 4) for each in many)
    waited_ns = remaining_ns * 2 // 5
    slowed_ns = reading_ns // 8
    expected_ns = waited_ns + reading_ns + slowed_ns + 60 * SMOLLM2.step(4)
    assert FOUR_SLOTS.predict_ns(one, [*others, *many]) == expected_ns


def test_one_that_is_not_critical_shares_its_steps_with_less_urgent_ones_that_have_the_other_slots():
    live = [of(LOW, prompt=100) for _ in range(20)]
    beside_ns = 3 * SMOLLM2.chunk(100)
    expected_ns = beside_ns + of(HIGH).reading_ns(FOUR_SLOTS.capabilities) + 60 * SMOLLM2.step(4)
    assert FOUR_SLOTS.predict_ns(of(HIGH), live) == expected_ns


def test_of_one_priority_the_sooner_deadline_goes_first_and_none_is_preempted():
    waiting, running = ([of(NORMAL, begun=begun)] * 6 for begun in (False, True))
    sooner, later = (of(NORMAL, deadline_ms=ms) for ms in (14_999, 15_000))
    assert FOUR_SLOTS.predict_ns(sooner, waiting) < FOUR_SLOTS.predict_ns(later, waiting)
    assert FOUR_SLOTS.predict_ns(sooner, running) == FOUR_SLOTS.predict_ns(later, running)


def test_a_scoring_that_has_begun_keeps_its_slot_from_a_more_urgent_request():
    alone_ns = FOUR_SLOTS.predict_ns(of(CRITICAL), [])
    slowed_ns = alone_ns + of(CRITICAL).reading_ns(FOUR_SLOTS.capabilities) // 8
    scorings = [of(LOW, begun=True, scored_tokens=20) for _ in range(4)]
    assert FOUR_SLOTS.predict_ns(of(CRITICAL), scorings[:3]) == slowed_ns, "a slot is free"
    assert FOUR_SLOTS.predict_ns(of(CRITICAL), scorings) > 1.5 * slowed_ns
    waiting = [of(LOW, scored_tokens=20) for _ in range(4)]
    assert FOUR_SLOTS.predict_ns(of(CRITICAL), waiting) == slowed_ns


def test_what_a_grammar_forces_before_the_first_step_is_no_prompt_that_was_read():
    opened, reading = of(NORMAL), of(NORMAL)
    opened.written_tokens = 3
    assert FOUR_SLOTS.wait_ns([opened]) == FOUR_SLOTS.wait_ns([reading]) > 0
    opened.begun = True
    assert FOUR_SLOTS.wait_ns([opened]) == 0


def test_where_nobody_more_may_wait_the_newest_of_the_least_urgent_gives_its_place_up():
    levels = [NORMAL] * 20 + [LOW] * 24 + [NORMAL] * 20
    live = [*(of(LOW, begun=True) for _ in range(4)), *map(of, levels)]
    assert FOUR_SLOTS.check(of(CRITICAL), live[:-1], 0) is None
    assert FOUR_SLOTS.check(of(CRITICAL), live, 0) is live[47]
    low_gone = [one for one in live if one.begun or one.request.priority is NORMAL]
    filled = [*low_gone, *(of(NORMAL) for _ in range(24))]
    assert FOUR_SLOTS.check(of(HIGH), filled, 0) is filled[-1]


def test_of_one_priority_the_latest_deadline_gives_its_place_up():
    waiting = [of(LOW, deadline_ms=deadline_ms) for deadline_ms in (9_000, 15_000, *[12_000] * 62)]
    live = [*(of(LOW, begun=True) for _ in range(4)), *waiting]
    assert FOUR_SLOTS.check(of(CRITICAL), live, 0) is waiting[1]


@pytest.mark.parametrize("begun", [True, False])
def test_who_has_begun_and_who_is_as_urgent_stays_and_the_newcomer_is_refused(begun):
    running = [of(LOW, begun=True) for _ in range(4)]
    live = [*running, *(of(LOW if begun else HIGH, begun=begun) for _ in range(64))]
    with pytest.raises(RejectedError) as caught:
        FOUR_SLOTS.check(of(HIGH), live, 0)
    assert caught.value.reason is Reason.OVERLOAD
    assert caught.value.retry_after_ms == FOUR_SLOTS.retry_ms(live) > 1000


def test_nobody_gives_its_place_up_for_one_that_is_refused():
    live = [of(LOW) for _ in range(68)]
    with pytest.raises(RejectedError) as caught:
        FOUR_SLOTS.check(of(CRITICAL, deadline_ms=1000), live, 0)
    assert caught.value.reason is Reason.DEADLINE
