import pytest

from lineside.engine.base import Capabilities, Costs
from lineside.errors import Reason, RejectedError
from lineside.serving.admission import Admission, Live
from lineside.serving.request import Principal, Request

MS = 1_000_000
CAPABILITIES = Capabilities("t", "t", 2, 100, 16, 50, False, 0, Costs((10 * MS, 15 * MS), 4 * MS, 1 * MS))
ADMISSION = Admission(CAPABILITIES, max_waiting=1)


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


def test_what_is_cached_of_a_prompt_takes_no_time():
    """Of 32 prompt tokens 22 are cached: 14 ms for the others, 5 tokens at 10 ms."""
    new = Live(request(prompt=32, deadline_ms=64), cached_tokens=22)
    ADMISSION.check(new, [], 0)
    assert refusal(new.request).reason is Reason.DEADLINE


def test_what_was_cached_of_prompts_before_a_newcomer_takes_no_time_either():
    before = Live(request(prompt=32), cached_tokens=22)
    ADMISSION.check(Live(request(deadline_ms=103)), [before], 0)
    assert refusal(request(deadline_ms=103), [Live(before.request)]).reason is Reason.DEADLINE
