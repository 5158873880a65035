"""How long what the scheduler plans would take, by the engine's costs and a clock that they move."""

from dataclasses import dataclass, field, replace

import pytest

from lineside.engine.base import Capabilities, Costs
from lineside.serving.request import Priority
from lineside.serving.scheduler import Scheduler
from lineside.serving.steps import Sequence

MS = 1_000_000
# As SmolLM2 in INT8 has on two cores: 10 ms for a step of one sequence, 23 for one of eight.
COSTS = Costs(tuple(round((10.15 + 12.45 * others / 7) * MS) for others in range(8)), 8 * MS, 1_330_000)
# Where a step of eight costs eight times one of one.
STEEP = replace(COSTS, step_ns=tuple(30 * MS * many for many in range(1, 9)))


@dataclass
class Asked:
    """A prompt of so many tokens that comes at an instant, `count` tokens to write; when each was written."""

    prompt: int
    count: int
    priority: Priority = Priority.NORMAL
    at_ns: int = 0
    written_ns: list[int] = field(default_factory=list)

    @property
    def gaps_ns(self):
        """From token to token."""
        return [after - before for before, after in zip(self.written_ns, self.written_ns[1:], strict=False)]


def carry_out(*asked, costs=COSTS):
    """Run until all have written all; returns when."""
    scheduler = Scheduler(Capabilities("t", "t", 8, 2048, 128, 50, False, 0, costs))
    coming, now_ns = sorted(asked, key=lambda one: one.at_ns), 0
    by_id = {str(index): one for index, one in enumerate(coming)}
    names = iter(by_id)
    while coming or scheduler.running or scheduler.waiting:
        if not scheduler.running and not scheduler.waiting:
            now_ns = max(now_ns, coming[0].at_ns)
        while coming and coming[0].at_ns <= now_ns:
            one, name = coming.pop(0), next(names)
            # Nothing in it is found read already.
            prompt = [10_000 * int(name) + place for place in range(one.prompt)]
            scheduler.add(Sequence(name, one.priority, 1 << 62, prompt))
        batch = scheduler.plan().batch
        took_ns = costs.step(sum(len(extension.tokens) == 1 for extension in batch))
        took_ns += sum(costs.chunk(len(each.tokens)) for each in batch if len(each.tokens) > 1)
        scheduler.took(batch, took_ns)
        now_ns += took_ns
        by_slot = scheduler.by_slot()
        for extension in batch:
            sequence = by_slot[extension.slot]
            scheduler.advance(extension, sequence.id)
            if extension.rows:
                one = by_id[sequence.id]
                sequence.tokens.append(len(one.written_ns))
                one.written_ns.append(now_ns)
                if len(one.written_ns) == one.count:
                    scheduler.remove(sequence.id)
    return now_ns


def test_eight_that_come_at_once_take_little_longer_than_their_prompts_and_full_steps():
    took_ns = carry_out(*(Asked(96, 48) for _ in range(8)))
    bound_ns = 8 * COSTS.chunk(96) + 47 * COSTS.step(8)
    assert bound_ns / took_ns > 0.945


def critical_among_others(others, prompt, costs):
    """A critical request among others that write, and how many tokens each of these wrote as it was read."""
    beside = [Asked(20, 300, Priority.LOW) for _ in range(others)]
    critical = Asked(prompt, 60, Priority.CRITICAL, at_ns=100 * costs.step(8))
    carry_out(*beside, critical, costs=costs)
    return critical, [
        sum(critical.at_ns < at <= critical.written_ns[0] for at in one.written_ns) for one in beside
    ]


@pytest.mark.parametrize(("costs", "written"), [(COSTS, 7), (STEEP, 0)])
@pytest.mark.parametrize("prompt", [1000, 400, 120])
def test_others_step_beside_a_critical_prompt_which_is_read_hardly_later(prompt, costs, written, monkeypatch):
    critical, each = critical_among_others(7, prompt, costs)
    monkeypatch.setattr("lineside.serving.pace.BESIDE_CRITICAL", -1.0)
    undisturbed, none = critical_among_others(7, prompt, costs)
    assert none == [1] * 7, "in the step that ran as it came"
    reading_ns = [one.written_ns[0] - one.at_ns for one in (critical, undisturbed)]
    assert reading_ns[0] < 1.13 * reading_ns[1]
    assert min(each) > written * prompt // 1000
    assert critical.gaps_ns == undisturbed.gaps_ns == [costs.step(1)] * 59


def test_critical_requests_without_end_starve_nobody():
    beside = [Asked(20, 60, Priority.LOW) for _ in range(4)]
    every_ns = COSTS.chunk(128) * 7
    critical = [Asked(1000, 5, Priority.CRITICAL, at_ns=(1 + number) * every_ns) for number in range(12)]
    carry_out(*beside, *critical)
    assert all(max(one.gaps_ns) < 2 * COSTS.chunk(128) for one in beside)
    assert max(one.written_ns[-1] for one in beside) < critical[-1].written_ns[0]
