from dataclasses import replace

from tests.unit.serving.test_scheduler import carry_out

from lineside.engine.base import Capabilities, Costs, PrefixCopy
from lineside.serving.prefixes import Prefixes
from lineside.serving.request import Priority
from lineside.serving.scheduler import Scheduler
from lineside.serving.steps import Sequence

HEAD = list(range(100, 120))
OTHER = list(range(200, 230))


def capabilities(slots=2, kept=1, max_seq_len=64, lasting=0):
    costs = Costs((100,) * slots, 100, 1)
    return Capabilities("t", "t", slots, max_seq_len, 64, 500, False, 0, costs, kept, lasting)


def held(prefixes, slot, tokens, *, lasting=False):
    """A sequence of these tokens began in the slot, ran and ended."""
    reused, copies = prefixes.begin(slot, list(tokens), len(tokens) - 1, lasting=lasting)
    prefixes.wrote(slot, list(tokens), len(tokens))
    return reused, copies


def test_the_same_slot_goes_on_in_place():
    prefixes = Prefixes(capabilities())
    assert held(prefixes, 0, [*HEAD, 1, 2]) == (0, [])
    assert held(prefixes, 0, [*HEAD, 3]) == (20, [])


def test_the_last_token_is_computed_however_much_is_cached():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, HEAD)
    assert held(prefixes, 0, HEAD) == (19, [])
    assert held(prefixes, 1, HEAD) == (19, [PrefixCopy(0, 1, 19)])


def test_another_slot_gets_a_copy():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, [*HEAD, 1, 2])
    assert held(prefixes, 1, [*HEAD, 3]) == (20, [PrefixCopy(0, 1, 20)])


def test_a_few_common_tokens_are_not_worth_a_copy():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, [*HEAD[:7], 1, 2])
    assert held(prefixes, 1, [*HEAD, 3]) == (0, [])
    assert held(prefixes, 0, [*HEAD[:7], 9]) == (7, [])


def test_what_a_newcomer_would_overwrite_is_kept_and_comes_back():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, [*HEAD, 1])
    assert held(prefixes, 0, OTHER) == (0, [PrefixCopy(0, 2, 21)])
    assert held(prefixes, 0, [*HEAD, 2]) == (20, [PrefixCopy(2, 0, 20)])


def test_what_is_dearer_to_copy_than_to_read_is_read():
    """A copy there and one back against one reading; then one copy against what it saves."""
    static = capabilities()
    dear = replace(static, costs=replace(static.costs, copy_token_ns=4))
    prefixes = Prefixes(dear)
    held(prefixes, 0, [*HEAD, 1])  # 21 tokens: a copy 84, reading 121
    assert held(prefixes, 0, OTHER) == (0, []), "not kept: 168 for both ways"
    held(prefixes, 0, [*HEAD, 1])
    assert held(prefixes, 1, [*HEAD, 3]) == (20, [PrefixCopy(0, 1, 20)]), "copied: 80 against 120"
    dearer = Prefixes(replace(static, costs=replace(static.costs, copy_fixed_ns=121)))
    held(dearer, 0, [*HEAD, 1])
    assert held(dearer, 1, [*HEAD, 3]) == (0, [])


def costly(**changes):
    """A copy of any 20 tokens costs 20, one of a whole cache 64; reading 20 tokens 2,100."""
    static = capabilities(**changes)
    return replace(static, costs=Costs((1000,) * static.slots, 100, 100, copy_token_ns=1))


def texts(count, begin=0):
    """Of 20 tokens each, none of which begins like another."""
    return [list(range(start * 20, start * 20 + 20)) for start in range(begin, begin + count)]


def kept_of(prefixes, prompts):
    """For how many of these prompts what was there before them was kept."""
    return sum(bool(held(prefixes, 0, prompt)[1]) for prompt in prompts)


def test_what_is_never_asked_for_again_is_soon_kept_no_more_but_for_a_trial():
    """64 ns to begin with: three copies. Then a copy, 20 ns, for reading 256 times as long: every third."""
    prefixes = Prefixes(costly(slots=1))
    first, *others = texts(13)
    held(prefixes, 0, first)
    kept = [kept_of(prefixes, [prompt]) for prompt in others]
    assert kept[:3] == [1, 1, 1]
    assert 3 <= sum(kept[3:]) <= 5, "nine prompts, 8 ns each"
    assert 0 in kept


def test_what_it_has_saved_may_be_spent_on_keeping():
    prefixes = Prefixes(costly(slots=1))
    prompts = texts(50)
    kept_of(prefixes, prompts[:12])
    assert kept_of(prefixes, prompts[12:14]) < 2, "there is no more to begin with"
    (kept,) = [prompt for prompt in prompts[:13] if prefixes.most(prompt) == 20]
    assert held(prefixes, 0, [*kept, 9999])[0] == 20  # which saves as much as a hundred copies cost
    held(prefixes, 0, prompts[14])
    assert kept_of(prefixes, prompts[15:]) == 35


def test_what_was_saved_long_ago_is_spent_some_day():
    """At most as much as reading a whole cache takes: 6,500 ns, or 550 copies beside the trials."""
    prefixes = Prefixes(costly(slots=1))
    for _ in range(10):
        held(prefixes, 0, HEAD)
        held(prefixes, 0, OTHER)
    prompts = texts(1000, begin=30)
    assert kept_of(prefixes, prompts[:500]) == 500
    assert kept_of(prefixes, prompts[600:]) < 200


def test_what_was_not_saved_by_keeping_is_not_spent_on_it():
    """What goes on in its slot, is copied from a slot that runs, or is there to stay."""
    in_place, running = Prefixes(costly(slots=1)), Prefixes(costly(slots=2))
    staying = Prefixes(costly(slots=1, kept=2, lasting=1))
    held(staying, 0, HEAD, lasting=True)
    held(staying, 0, OTHER)
    for end in range(5):
        held(in_place, 0, [*HEAD, end])
        held(running, end % 2, [*HEAD, end])
        held(staying, 0, [*HEAD, end])
    for prefixes in (in_place, running, staying):
        assert kept_of(prefixes, texts(40, begin=30)) < 30


def test_who_is_sure_to_come_back_is_kept_whatever_is_left():
    prefixes = Prefixes(costly(slots=1))
    kept = [kept_of(prefixes, [prompt]) for prompt in texts(12)]
    assert 0 in kept[-2:], "nothing is left at times"
    for prompt in texts(6, begin=30):
        prefixes.awaits(0)
        assert kept_of(prefixes, [prompt]) == 1


def test_and_that_costs_nothing_of_what_is_for_others():
    prefixes = Prefixes(costly(slots=1))
    before = []
    for prompt in texts(12):
        prefixes.awaits(0)
        held(prefixes, 0, prompt)
        prefixes.has_come(before)
        before = prompt
    assert kept_of(prefixes, texts(3, begin=30)) == 3, "as in the beginning"


def test_nothing_takes_the_place_of_what_somebody_is_sure_to_come_back_for():
    prefixes = Prefixes(capabilities(slots=1))
    held(prefixes, 0, HEAD)
    prefixes.awaits(0)
    held(prefixes, 0, OTHER)
    held(prefixes, 0, list(range(300, 330)))
    assert held(prefixes, 0, [*HEAD, 1])[0] == 20
    held(prefixes, 0, OTHER)
    held(prefixes, 0, list(range(300, 330)))
    assert held(prefixes, 0, [*HEAD, 1])[0] == 0, "it has come, and is like any other"


def test_who_is_ended_before_its_slot_comes_back_is_no_longer_awaited():
    scheduler = Scheduler(capabilities(slots=1))
    low, alarm, other = HEAD, OTHER, list(range(300, 330))
    scheduler.add(Sequence("low", Priority.LOW, 1000, list(low)))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.add(Sequence("alarm", Priority.CRITICAL, 1000, list(alarm)))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("low")
    scheduler.remove("alarm")
    scheduler.add(Sequence("other", Priority.NORMAL, 1000, other))
    assert [copy.length for copy in scheduler.plan().copies] == [30], "the alarm's takes its place"


def test_nor_does_it_save_anything_for_them():
    prefixes = Prefixes(costly(slots=1))
    for prompt in texts(6):
        held(prefixes, 0, prompt)
        prefixes.awaits(0)
        held(prefixes, 0, OTHER)
        assert held(prefixes, 0, [*prompt, 9999])[0] == 20, "is back"
        prefixes.forget()
    assert kept_of(prefixes, texts(40, begin=30)) < 30


def test_a_preempted_sequence_is_kept_whatever_is_left():
    scheduler = Scheduler(costly(slots=1))
    for index, prompt in enumerate(texts(9, begin=30)):
        name, alarm = f"low {index}", f"alarm {index}"
        scheduler.add(Sequence(name, Priority.LOW, 1000, prompt))
        carry_out(scheduler, scheduler.plan().batch)
        scheduler.add(Sequence(alarm, Priority.CRITICAL, 1000, [index] * 20))
        step = scheduler.plan()
        assert step.preempted == [name]
        assert [copy.length for copy in step.copies] == [20]
        carry_out(scheduler, step.batch)
        scheduler.remove(alarm)
        scheduler.remove(name)


def test_the_manuals_entries_cost_nothing_of_it():
    prefixes = Prefixes(costly(slots=1, kept=3, lasting=2))
    for prompt in texts(8):
        held(prefixes, 0, prompt, lasting=True)
    assert kept_of(prefixes, texts(3, begin=30)) == 3


def test_what_the_newcomer_mostly_shares_is_not_kept():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, [*HEAD, *range(15)])
    assert held(prefixes, 0, [*HEAD, 400]) == (20, [])


def test_the_least_recently_used_goes_out():
    prefixes = Prefixes(capabilities(slots=1, kept=2))
    texts = [list(range(start, start + 20)) for start in (0, 100, 200, 300)]
    for text in texts[:3]:  # kept are the first two, running the third
        held(prefixes, 0, text)
    assert held(prefixes, 0, texts[0])[0] == 19  # used again, the third is kept for the second
    assert held(prefixes, 0, texts[3])[0] == 0
    assert held(prefixes, 0, texts[1])[0] == 0
    assert held(prefixes, 0, texts[0])[0] == 19


def test_what_is_held_twice_goes_out_first():
    prefixes = Prefixes(capabilities(slots=2, kept=2))
    held(prefixes, 0, OTHER)
    held(prefixes, 0, [*HEAD, 1])  # OTHER is kept
    held(prefixes, 1, [*HEAD, 2])
    assert held(prefixes, 0, list(range(30)))[1] == []  # slot 1 holds as much of HEAD
    assert held(prefixes, 0, [*OTHER, 1])[0] == 30


def test_where_nothing_can_be_copied_the_slot_that_holds_most_is_taken():
    scheduler = Scheduler(capabilities(kept=0))
    for name, tokens in (("a", OTHER), ("b", HEAD)):
        scheduler.add(Sequence(name, Priority.NORMAL, 1000, list(tokens)))
        carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("a")
    scheduler.remove("b")
    scheduler.add(Sequence("c", Priority.NORMAL, 1000, [*HEAD, 5]))
    step = scheduler.plan()
    assert step.copies == []
    assert [(e.slot, e.past_len, len(e.tokens)) for e in step.batch] == [(1, 20, 1)]


def test_tokens_whose_logits_are_wanted_are_computed():
    scheduler = Scheduler(capabilities())
    scheduler.add(Sequence("a", Priority.NORMAL, 1000, [*HEAD, 5]))
    carry_out(scheduler, scheduler.plan().batch)
    scheduler.remove("a")
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, list(HEAD), rows=6))
    (extension,) = scheduler.plan().batch
    assert (extension.past_len, extension.rows) == (14, (0, 1, 2, 3, 4, 5))


def test_a_second_prompt_waits_for_what_the_first_reads_in_this_step():
    """Its first chunk is planned once the first prompt's is cached, and copied then."""
    caps = capabilities()
    scheduler = Scheduler(Capabilities(*(("t", "t", 2, 64, 20, 500, False, 0, caps.costs, 1))))
    scheduler.add(Sequence("a", Priority.NORMAL, 1000, [*HEAD, 1]))
    scheduler.add(Sequence("b", Priority.NORMAL, 1000, [*HEAD, 2]))
    first = scheduler.plan()
    assert [(e.slot, len(e.tokens)) for e in first.batch] == [(0, 20)]
    carry_out(scheduler, first.batch)
    second = scheduler.plan()
    assert second.copies == [PrefixCopy(0, 1, 20)]
    assert sorted((e.slot, e.tokens) for e in second.batch) == [(0, (1,)), (1, (2,))]


def test_a_full_cache_is_held_but_for_its_last_place():
    """Where an idle slot's row is computed along, it lands on the last place of a full cache."""
    prefixes = Prefixes(capabilities(max_seq_len=21))
    held(prefixes, 0, [*HEAD, 1])
    assert held(prefixes, 0, OTHER[:20])[1] == [PrefixCopy(0, 2, 20)]


def test_after_a_fault_nothing_is_reused():
    prefixes = Prefixes(capabilities())
    held(prefixes, 0, HEAD)
    prefixes.forget()
    assert held(prefixes, 0, HEAD) == (0, [])


def text(start):
    return list(range(start, start + 20))


def test_what_is_to_stay_outlives_whatever_else_comes():
    prefixes = Prefixes(capabilities(slots=1, kept=3, lasting=2))
    for start in (0, 50):
        held(prefixes, 0, text(start), lasting=True)
    for start in range(100, 400, 50):
        held(prefixes, 0, text(start))
    assert [prefixes.most(text(start)) for start in (0, 50, 300)] == [20, 20, 20]
    assert prefixes.most(text(100)) == 0


def test_what_is_to_stay_makes_place_for_its_like_the_one_used_longest_ago():
    prefixes = Prefixes(capabilities(slots=1, kept=2, lasting=2))
    for start in (0, 50):
        held(prefixes, 0, text(start), lasting=True)
    held(prefixes, 0, OTHER)
    assert held(prefixes, 0, text(0))[0] == 19  # used
    held(prefixes, 0, text(100), lasting=True)
    held(prefixes, 0, OTHER)
    assert [prefixes.most(text(start)) for start in (0, 50, 100)] == [20, 0, 20]


def test_it_is_kept_once_and_whatever_its_copies_cost():
    static = capabilities(slots=1, kept=2, lasting=2)
    prefixes = Prefixes(replace(static, costs=replace(static.costs, copy_fixed_ns=1000)))
    held(prefixes, 0, HEAD, lasting=True)
    assert held(prefixes, 0, OTHER)[1] == [PrefixCopy(0, 1, 20)]
    held(prefixes, 0, HEAD, lasting=True)
    assert held(prefixes, 0, OTHER)[1] == []


def test_a_report_that_goes_on_in_its_slot_leaves_it_kept():
    prefixes = Prefixes(capabilities(slots=1, kept=1, lasting=1))
    held(prefixes, 0, HEAD, lasting=True)
    assert held(prefixes, 0, [*HEAD, *range(3)]) == (20, [PrefixCopy(0, 1, 20)])
    held(prefixes, 0, OTHER)
    assert prefixes.most(HEAD) == 20
