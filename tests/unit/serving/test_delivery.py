"""When events reach the event loop, and in what form."""

from lineside.serving.delivery import EVERY_NS, MESSAGE_NS, Delivery
from lineside.serving.request import EndEvent, FinishReason, Timings, TokenEvent, Usage

END = EndEvent(FinishReason.STOP, Usage(1, 3), Timings(0.0, 0.0, 0.0))


class Loop:
    """A delivery whose clock is set by hand."""

    def __init__(self) -> None:
        self.now_ns, self.posted = EVERY_NS * 10, []
        self.delivery = Delivery(self.posted.append, lambda: self.now_ns)

    def step(self, *delivered, after_ns: int = 1, everything: bool = False):
        self.now_ns += after_ns
        for request_id, event in delivered:
            self.delivery.add(request_id, event)
        self.delivery.hand_over(self.delivery.due(everything))
        posted, self.posted[:] = list(self.posted), []
        return posted


def test_the_first_event_goes_at_once_and_later_ones_are_joined() -> None:
    loop = Loop()
    assert loop.step(("a", TokenEvent("o", (1,)))) == [[("a", TokenEvent("o", (1,)))]]
    assert loop.step(("a", TokenEvent("n", (2,)))) == []
    joined = TokenEvent("ne", (2, 3, 4))
    assert loop.step(("a", TokenEvent("e", (3, 4))), after_ns=EVERY_NS) == [[("a", joined)]]
    assert loop.step() == []


def test_an_end_takes_along_what_is_there_of_its_request_in_its_order() -> None:
    loop = Loop()
    loop.step(("a", TokenEvent("o", (1,))), ("b", TokenEvent("t", (5,))))
    assert loop.step(("b", TokenEvent("w", (6,))), ("a", TokenEvent("n", (2,)))) == []
    assert loop.step(("a", END)) == [[("a", TokenEvent("n", (2,))), ("a", END)]]
    assert loop.step(("b", TokenEvent("o", (7,))), after_ns=EVERY_NS) == [[("b", TokenEvent("wo", (6, 7)))]]
    again = loop.step(("a", TokenEvent("o", (1,))))
    assert again == [[("a", TokenEvent("o", (1,)))]], "another request of that name begins anew"


def test_choices_that_are_not_certain_stay_apart() -> None:
    loop = Loop()
    events = [
        TokenEvent("a", (1,), 0.5),
        TokenEvent("b", (2,)),
        TokenEvent("c", (3,)),
        TokenEvent("d", (4,), 0.9),
    ]
    assert loop.step(*(("a", event) for event in events)) == [
        [("a", events[0]), ("a", TokenEvent("bc", (2, 3))), ("a", events[3])]
    ]


def test_a_thought_and_its_answer_stay_apart() -> None:
    loop = Loop()
    events = [TokenEvent("hm", (1,), thinking=True), TokenEvent("yes", (2,)), TokenEvent("!", (3,))]
    assert loop.step(*(("a", event) for event in events)) == [
        [("a", events[0]), ("a", TokenEvent("yes!", (2, 3)))]
    ]


def test_of_many_requests_each_is_heard_less_often() -> None:
    loop = Loop()
    for request_id in "abcdefgh":
        loop.step((request_id, TokenEvent("o", (1,))))
    events = [(request_id, TokenEvent("n", (2,))) for request_id in "abcdefgh"]
    assert loop.step(*events, after_ns=EVERY_NS) == []
    assert loop.step(after_ns=8 * MESSAGE_NS - EVERY_NS) == [events]


def test_a_step_that_takes_longer_holds_nothing_back() -> None:
    loop = Loop()
    loop.step(("a", TokenEvent("o", (1,))))
    for token in range(3):
        event = TokenEvent("x", (token,))
        assert loop.step(("a", event), after_ns=EVERY_NS) == [[("a", event)]]


def test_before_a_long_step_everything_goes() -> None:
    loop = Loop()
    loop.step(("a", TokenEvent("o", (1,))))
    assert loop.step(("a", TokenEvent("n", (2,)))) == []
    assert loop.step(everything=True) == [[("a", TokenEvent("n", (2,)))]]
