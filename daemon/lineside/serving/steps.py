"""A request's state in the scheduler, and what a step takes of several. Knows no policy.

What is looked at for every token of every sequence is here: between two steps the engine waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lineside.engine.base import Extension, PrefixCopy
from lineside.serving.drafts import Drafter
from lineside.serving.request import Priority, Request


@dataclass(slots=True, eq=False)
class Sequence:
    """A request's state here. The first `past_len` of its known `tokens` are cached.

    `rows`: so many of the last of them want logits. `reused`: so many were cached before it began. `draft`: a
    guess at what follows, to be checked in its next step, `drafted` what is being checked. `goal`: with fewer
    tokens than that it is of no use. `lasting`: nobody waits for it, and what it reads is to stay cached.
    `writing`: it has given logits in its slot.
    """

    id: str
    priority: Priority
    deadline_ns: int
    tokens: list[int]
    rows: int = 1
    lasting: bool = False
    arrival: int = 0
    slot: int | None = None
    past_len: int = 0
    begun: bool = False
    writing: bool = False
    reused: int = 0
    goal: int = 0
    preempted: bool = False
    drafter: Drafter | None = None
    draft: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request) -> Sequence:
        """One that has no tokens yet."""
        rows, goal, lasting = request.scored_tokens or 1, request.goal, request.lasting
        return cls(request.id, request.priority, request.deadline_ns, [], rows, goal=goal, lasting=lasting)

    @property
    def pending(self) -> int:
        """How many tokens are known and not cached."""
        return len(self.tokens) - self.past_len

    @property
    def urgency(self) -> tuple[int, int, int]:
        """Smaller goes first: priority, then deadline, then age."""
        return (self.priority, self.deadline_ns, self.arrival)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: the copies in their order, then the batch, which is of `sequences`, in their order.

    Who lost its slot for it, by id, and who begins with it, for the first time or again.
    """

    copies: list[PrefixCopy] = field(default_factory=list)
    batch: list[Extension] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)
    begun: list[Sequence] = field(default_factory=list)


def by_urgency(sequences: Iterable[Sequence]) -> list[Sequence]:
    """The most urgent first."""
    return sorted(sequences, key=lambda sequence: sequence.urgency)


def undisturbed(running: list[Sequence]) -> list[Sequence]:
    """The critical ones of those that run, in order of urgency; all where none is critical."""
    if not running or running[0].priority is not Priority.CRITICAL:
        return running
    return [s for s in running if s.priority is Priority.CRITICAL]


def writes_alone(sequence: Sequence) -> bool:
    """Whether its next step can be of one token only."""
    return sequence.begun and not sequence.draft and len(sequence.tokens) == sequence.past_len + 1


def forced_first(running: Iterable[Sequence]) -> list[Sequence]:
    """Those that write and have several tokens to take, before those that read however long a prompt."""
    return sorted(running, key=lambda sequence: not (sequence.writing and sequence.pending > 1))


def extension(sequence: Sequence, count: int) -> Extension:
    """Its next `count` known tokens, and behind them what is to be checked of a draft."""
    assert sequence.slot is not None
    begin = sequence.past_len
    if not sequence.drafted and begin + 1 == len(sequence.tokens):
        return Extension(sequence.slot, begin, (sequence.tokens[begin],), (0,))
    first = max(sequence.pending - sequence.rows, 0)
    tokens = (*sequence.tokens[begin : begin + count], *sequence.drafted)
    return Extension(sequence.slot, begin, tokens, tuple(range(first, len(tokens))))
