"""How long what the scheduler plans would take, by the engine's costs and a clock that they move."""

from dataclasses import dataclass, field

from lineside.engine.base import Capabilities, Costs
from lineside.serving.request import Priority
from lineside.serving.scheduler import Scheduler, Sequence

MS = 1_000_000
# As SmolLM2 in INT8 has on two cores: 10 ms for a step of one sequence, 23 for one of eight.
COSTS = Costs(tuple(round((10.15 + 12.45 * others / 7) * MS) for others in range(8)), 8 * MS, 1_330_000)
CAPABILITIES = Capabilities("t", "t", 8, 2048, 128, 50, False, 0, COSTS)


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


def carry_out(*asked):
    """Run until all have written all; returns when."""
    scheduler, coming, now_ns = Scheduler(CAPABILITIES), sorted(asked, key=lambda one: one.at_ns), 0
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
        took_ns = COSTS.step(sum(len(extension.tokens) == 1 for extension in batch))
        took_ns += sum(COSTS.chunk(len(each.tokens)) for each in batch if len(each.tokens) > 1)
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
