import pytest

from lineside.engine.base import Capabilities, Costs
from lineside.serving.drafts import MOST_TOKENS, Chances, Drafter, Rate, agreed, worthwhile
from lineside.serving.request import Priority
from lineside.serving.scheduler import Scheduler
from lineside.serving.steps import Sequence

SURE = Chances(Rate(99.0, 1.0), Rate(99.0, 1.0))
HALF = Chances(Rate(1.0, 1.0), Rate(1.0, 1.0))
# Two tokens of one sequence cost 1.2 steps, each further one .1, each further row .05.
COSTS = Costs((1000, 1100, 1200, 1300), 1000, 100, 50)


def test_what_followed_the_same_tokens_before_is_proposed():
    drafter = Drafter(Chances())
    assert drafter.propose([1, 2, 3, 4, 5, 6, 1, 2, 3]) == [4, 5, 6, 1, 2, 3, 4]


def test_the_latest_place_counts_and_the_longer_likeness_first():
    assert Drafter(Chances()).propose([2, 3, 7, 0, 2, 3, 8, 0, 2, 3]) == [8, 0, 2, 3, 8, 0, 2]
    assert Drafter(Chances()).propose([1, 2, 3, 7, 0, 9, 2, 3, 8, 0, 1, 2, 3])[0] == 7


def test_nothing_is_proposed_behind_what_is_new():
    assert Drafter(Chances()).propose([1, 2, 3, 4]) == []
    assert Drafter(Chances()).propose([5]) == []


def test_it_learns_as_the_text_grows_and_proposes_no_more_than_its_bound():
    drafter, tokens = Drafter(Chances()), list(range(50))
    drafter.propose(tokens)
    tokens += [10, 11]
    assert drafter.propose(tokens) == list(range(12, 12 + MOST_TOKENS))


def test_guesses_are_scored_without_being_used():
    common = Chances()
    drafter, tokens = Drafter(common), [1, 2, 3, 4, 5, 1, 2]
    drafter.propose(tokens)
    before = drafter.own.first.mean
    tokens.append(3)
    drafter.propose(tokens)
    better = drafter.own.first.mean
    tokens.append(99)
    drafter.propose(tokens)
    assert better > before
    assert drafter.own.first.mean < better
    assert Drafter(common).own.first.mean == pytest.approx(common.first.mean)


def test_following_tokens_are_counted_apart_from_first_ones():
    chances = Chances()
    chances.learn([1, 2, 3, 4], [1, 2, 9])
    assert chances.first.yes > chances.first.no
    assert (chances.next.yes, chances.next.no) == pytest.approx((2 * 0.95**2 + 1, 2 * 0.95**2 + 1))
    chances.learn([1], [5])
    assert chances.next.yes == pytest.approx(2 * 0.95**2 + 1)


def test_what_was_seen_long_ago_is_forgotten():
    rate = Rate()
    for _ in range(200):
        rate.learn(0, 1)
    for _ in range(30):
        rate.learn(1, 0)
    assert rate.mean > 0.7


def test_agreed_is_the_common_beginning():
    assert [agreed([1, 2, 3], came) for came in ([], [1], [1, 2, 3, 4], [1, 9, 3], [9])] == [0, 1, 3, 1, 0]


def test_drafting_pays_where_guesses_are_right_and_tokens_are_cheap():
    assert worthwhile(COSTS, 0, SURE, 7) == 7
    assert 0 < worthwhile(COSTS, 0, HALF, 7) < 7
    assert worthwhile(COSTS, 0, SURE, 2) == 2


@pytest.mark.parametrize(
    ("costs", "others", "chances"),
    [
        (COSTS, 0, Chances(Rate(0.01, 9.9), Rate())),  # guesses are wrong
        (COSTS, 3, HALF),  # three others would wait
        (
            Costs((1000,), 5000, 0),
            0,
            SURE,
        ),  # a chunk costs what five steps do, such as a plan of static shape
        (Costs((1000,), 0, 1000), 0, SURE),  # each token costs a step
        (Costs((1000,), 1000, 100, 4000), 0, SURE),  # each row costs a call of its own
    ],
)
def test_drafting_switches_itself_off_where_it_does_not_pay(costs, others, chances):
    assert worthwhile(costs, others, chances, 4) == 0


def drafting(tokens=20, **changes):
    fields = {"max_seq_len": 64, "max_chunk_tokens": 8} | changes
    caps = Capabilities("t", "t", 2, *fields.values(), 500, False, 0, COSTS)
    scheduler = Scheduler(caps)
    sequence = Sequence("a", Priority.NORMAL, 1000, [7] * tokens, drafter=Drafter(SURE))
    scheduler.add(sequence)
    while sequence.pending > 1 or not sequence.begun:
        (extension,) = scheduler.plan().batch
        scheduler.advance(extension, "a")
        scheduler.extend(sequence, [7] if extension.rows else [])
    return scheduler, sequence


def test_a_draft_is_checked_in_one_extension_and_what_was_right_is_cached():
    scheduler, sequence = drafting()
    known = len(sequence.tokens)
    sequence.draft = [7, 8, 9]
    (extension,) = scheduler.plan().batch
    assert (extension.tokens, extension.rows) == ((7, 7, 8, 9), (0, 1, 2, 3))
    scheduler.advance(extension, "a")
    assert scheduler.extend(sequence, [7, 8, 5]) == 2
    assert (sequence.past_len, sequence.tokens[-3:], sequence.pending) == (known + 2, [7, 8, 5], 1)
    (after,) = scheduler.plan().batch
    assert (after.past_len, after.tokens) == (known + 2, (5,))


def test_a_draft_stays_within_the_cache_and_the_steps_budget():
    scheduler, sequence = drafting(tokens=60)
    assert len(scheduler.draft(sequence)) == 3  # 61 of 64 places are taken
    scheduler, sequence = drafting(max_chunk_tokens=4)
    sequence.draft = [7] * 7
    (extension,) = scheduler.plan().batch
    assert len(extension.tokens) == 4


def test_wrong_drafts_are_never_reused_as_a_prefix():
    scheduler, sequence = drafting()
    sequence.draft = [7, 8, 9]
    scheduler.advance(scheduler.plan().batch[0], "a")
    scheduler.extend(sequence, [1])
    scheduler.remove("a")
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, [*[7] * 21, 7, 8, 9]))
    (extension,) = scheduler.plan().batch
    assert extension.past_len == 21
