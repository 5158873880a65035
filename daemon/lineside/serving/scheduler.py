"""Scheduling policy: which sequences run, and what each step extends. Knows nothing of clocks or arrays.

A step takes one token of every running sequence that has one to give, and in longer chunks as many as running
sequences have patience for, in the same plan or, where they are long, in the next: a long prompt never holds
the others up for more than one chunk. While a critical
one writes, those of lower priority stand still; while it reads, they take a step beside its chunks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lineside.engine.base import Capabilities, Extension, PrefixCopy
from lineside.serving.drafts import CERTAIN, MOST_TOKENS, agreed, worthwhile
from lineside.serving.pace import Pace
from lineside.serving.prefixes import Prefixes
from lineside.serving.request import Priority
from lineside.serving.steps import (
    Sequence,
    Step,
    by_urgency,
    extension,
    forced_first,
    undisturbed,
    writes_alone,
)

# Alarms come in groups: after a critical request others are kept short for so long.
ALERT_NS = 60_000_000_000
# What is read ahead goes in chunks of so many tokens.
LASTING_CHUNK = 32
# Whoever has got an answer may ask again within so long.
ASK_AGAIN_NS = 20_000_000


@dataclass(slots=True)
class Scheduler:
    """Owns waiting and running sequences and the slots. Every method returns at once."""

    capabilities: Capabilities
    _sequences: dict[str, Sequence] = field(default_factory=dict)
    _free: list[int] = field(init=False)
    _prefixes: Prefixes = field(init=False)
    _pace: Pace = field(init=False)
    _drafts_may_pay: list[bool] = field(init=False)  # beside so many others, were every guess right
    _order: list[Sequence] | None = None  # see _holding; None once it has changed
    _first_deadline_ns: int = 0  # nothing has expired before it
    _arrivals: int = 0
    _together: int = 0  # sequences that the last plan let take part
    _read_next: bool = False  # the last plan let all write and none read
    _alert_ns: int = 0  # of work, for which another critical request is still looked out for

    def __post_init__(self) -> None:
        costs = self.capabilities.costs
        counts = range(self.capabilities.slots)
        self._drafts_may_pay = [worthwhile(costs, others, CERTAIN, MOST_TOKENS) > 0 for others in counts]
        self._free = list(range(self.capabilities.slots))
        self._prefixes = Prefixes(self.capabilities)
        self._pace = Pace(self.capabilities)

    @property
    def running(self) -> int:
        """Sequences that hold a slot."""
        return self.capabilities.slots - len(self._free)

    @property
    def waiting(self) -> int:
        """Sequences that do not hold one yet."""
        return len(self._sequences) - self.running

    def __contains__(self, sequence_id: object) -> bool:
        return sequence_id in self._sequences

    def add(self, sequence: Sequence) -> None:
        """Take a sequence in; its prompt is its first tokens."""
        self._arrivals += 1
        sequence.arrival = self._arrivals
        self._sequences[sequence.id] = sequence
        self._first_deadline_ns = min(self._first_deadline_ns, sequence.deadline_ns)

    def remove(self, sequence_id: str) -> None:
        """End a sequence, whatever its state; its slot is free for the next step."""
        sequence = self._sequences.pop(sequence_id)
        if sequence.slot is not None:
            self._free.append(sequence.slot)
            # The lowest slots first keep the running ones together, which makes for fewer device calls.
            self._free.sort()
            self._order = None
        elif sequence.preempted:
            self._prefixes.has_come(sequence.tokens)

    def expired(self, now_ns: int) -> list[str]:
        """Ids of sequences whose deadline has passed."""
        if now_ns < self._first_deadline_ns:
            return []
        deadlines = (s.deadline_ns for s in self._sequences.values())
        self._first_deadline_ns = min(deadlines, default=now_ns)
        return [s.id for s in self._sequences.values() if s.deadline_ns <= now_ns]

    def hopeless(self, now_ns: int) -> list[str]:
        """Ids of sequences that no engine of these costs would bring to their goal in time, alone on it."""
        return [s.id for s in self._sequences.values() if self._is_hopeless(s, s.deadline_ns - now_ns)]

    def cached(self, tokens: list[int]) -> int:
        """How many tokens of a prompt are cached somewhere now. Right or not so any more: a guess."""
        return min(self._prefixes.most(tokens), max(len(tokens) - 1, 0))

    def took(self, batch: list[Extension], measured_ns: int) -> None:
        """A batch has been carried out in so long."""
        self._pace.learn(batch, measured_ns)
        self._alert_ns -= measured_ns

    def plan(self, max_batch: int | None = None) -> Step:
        """Give slots to the most urgent, then choose what each running sequence extends by.

        A slot may be taken from a sequence of lower priority. What that had cached is kept where there is a
        slot to keep it and copies cost less than reading again, as measured at the start; else it is read
        again.
        No more than `max_batch` sequences take part, and beside critical ones none of a lower priority, which
        would slow every step of theirs; the others keep their slots and wait, or step beside long chunks.
        """
        step = Step()
        if self.waiting:
            self._give_slots(step)
        holding = self._holding()
        running = undisturbed(holding)[:max_batch]
        self._together = len(running)
        critical = bool(running) and running[0].priority is Priority.CRITICAL
        if critical:
            self._alert_ns = ALERT_NS
        if all(map(writes_alone, running)):
            step.sequences.extend(running)
            step.batch.extend([extension(sequence, 1) for sequence in running])
            self._read_next = not critical
            return step
        singles = sum(s.pending == 1 for s in running)
        unread = self.waiting + len(running) - singles
        budget = self._pace.budget(singles, unread, alert=self._alert_ns > 0 and not critical)
        for sequence in forced_first(running if critical else self._in_turns(running, budget)):
            if not sequence.begun:
                if budget <= 1:
                    continue  # what others read in this step, it may find read in the next
                step.copies.extend(self._begin(sequence))
                step.begun.append(sequence)
            count = 1
            if sequence.pending > 1:
                count = self._chunk(sequence, budget, singles)
            elif sequence.draft:
                self._use_draft(sequence, budget, max(singles - 1, 0))
            if count:
                step.sequences.append(sequence)
                step.batch.append(extension(sequence, count))
                tokens = len(step.batch[-1].tokens)
                budget -= tokens if tokens > 1 else 0
        if critical:
            others = self._beside(step.batch, holding, max_batch)
            step.sequences.extend(others)
            step.batch.extend([extension(sequence, 1) for sequence in others])
        return step

    def draft(self, sequence: Sequence) -> list[int]:
        """A guess at how a sequence goes on, as long as it pays; it is used once it is `sequence.draft`."""
        others = max(self._together - 1, 0)
        if sequence.drafter is None or not self._drafts_may_pay[others]:
            return []
        guess = sequence.drafter.propose(sequence.tokens)
        most = min(len(guess), self.capabilities.max_seq_len - len(sequence.tokens))
        return guess[: worthwhile(self.capabilities.costs, others, sequence.drafter.own, most)]

    def advance(self, extension: Extension, sequence_id: str) -> None:
        """The engine has carried `extension` out. Of a draft nothing is known yet to be right."""
        sequence = self._sequences[sequence_id]
        sequence.past_len = extension.past_len + len(extension.tokens) - len(sequence.drafted)
        sequence.writing = sequence.writing or bool(extension.rows)
        self._prefixes.wrote(extension.slot, sequence.tokens, sequence.past_len)

    def extend(self, sequence: Sequence, tokens: list[int]) -> int:
        """A sequence goes on with `tokens`: how many of them are cached, because they had been drafted."""
        sequence.tokens.extend(tokens)
        if not sequence.drafted:
            return 0
        assert sequence.slot is not None
        accepted = agreed(sequence.drafted, tokens)
        sequence.drafted = []
        sequence.past_len += accepted
        self._prefixes.wrote(sequence.slot, sequence.tokens, sequence.past_len)
        return accepted

    def forget_caches(self) -> None:
        """A step has failed: what slots hold of ended sequences is not to be relied on."""
        self._prefixes.forget()

    def by_slot(self) -> dict[int, Sequence]:
        """The running sequences."""
        return {s.slot: s for s in self._sequences.values() if s.slot is not None}

    def _holding(self) -> list[Sequence]:
        """Those that hold a slot, the most urgent first."""
        if self._order is None:
            self._order = by_urgency(s for s in self._sequences.values() if s.slot is not None)
        return self._order

    def _give_slots(self, step: Step) -> None:
        """To those that wait, the most urgent first, as long as there are some or some can be taken."""
        self._order = None
        for sequence in by_urgency(s for s in self._sequences.values() if s.slot is None):
            if not self._free:
                last = self._preempt(sequence)
                if last is None:
                    break
                step.preempted.append(last.id)
            sequence.slot = self._prefixes.nearest(self._free, sequence.tokens)
            self._free.remove(sequence.slot)

    def _begin(self, sequence: Sequence) -> list[PrefixCopy]:
        """Start from what is cached of its tokens; those whose logits are wanted have to be computed."""
        assert sequence.slot is not None
        sequence.begun = True
        most = len(sequence.tokens) - sequence.rows
        sequence.past_len, copies = self._prefixes.begin(
            sequence.slot, sequence.tokens, most, lasting=sequence.lasting
        )
        if not sequence.preempted:
            sequence.reused = sequence.past_len
        return copies

    def _preempt(self, newcomer: Sequence) -> Sequence | None:
        """Take the slot of the least urgent sequence of a lower priority, which goes on later.

        One that has given some of several rows keeps its slot: they would be wanted again.
        """
        lower = (s for s in self.by_slot().values() if s.priority > newcomer.priority and s.rows == 1)
        last = max(lower, key=lambda sequence: sequence.urgency, default=None)
        if last is None:
            return None
        assert last.slot is not None
        self._free.append(last.slot)
        self._prefixes.awaits(last.slot)
        last.preempted = last.preempted or last.begun
        last.slot, last.past_len, last.begun, last.writing, last.draft = None, 0, False, False, []
        return last

    def _in_turns(self, running: list[Sequence], budget: int) -> list[Sequence]:
        """Those that write and those that read one after the other, where the engine does so anyway.

        What the steps end is answered before the chunks begin. Whoever then asks again while they are read
        takes part in the next steps, or is read next, instead of after another chunk. For all where reading
        takes no longer than asking.
        """
        reading = [sequence for sequence in running if sequence.pending > MOST_TOKENS + 1]
        unread = sum(sequence.pending for sequence in reading)
        apart = not self.capabilities.mixed_chunks and 0 < len(reading) < len(running)
        if not apart or self._pace.chunk_ns(min(unread, budget)) < ASK_AGAIN_NS:
            self._read_next = not reading
            return running
        self._read_next = not self._read_next
        if self._read_next:
            return [sequence for sequence in running if sequence.pending <= MOST_TOKENS + 1]
        return reading

    def _beside(
        self, batch: list[Extension], holding: list[Sequence], max_batch: int | None
    ) -> list[Sequence]:
        """Those that stand still for critical ones and yet take a token in a step that is long by reading."""
        lengths = [len(extension.tokens) for extension in batch]
        chunks = [length for length in lengths if length > MOST_TOKENS + 1]
        lower = (s for s in holding if s.priority is not Priority.CRITICAL)
        ready = [s for s in lower if s.begun and s.pending <= MOST_TOKENS + 1]  # not those that read
        others = ready[: None if max_batch is None else max(max_batch - len(batch), 0)]
        if not chunks or not others or not self._pace.lets_in(chunks, lengths.count(1), len(others)):
            return []
        return others

    def _is_hopeless(self, sequence: Sequence, left_ns: int) -> bool:
        picks = max(sequence.goal - len(sequence.tokens), 0)
        if self._pace.least_ns(sequence.pending, picks) <= left_ns:
            return False
        # One that waits may find read what it has to read, which is looked up where it matters alone.
        unread = sequence.pending - (0 if sequence.begun else self.cached(sequence.tokens))
        return self._pace.least_ns(unread, picks) > left_ns

    def _use_draft(self, sequence: Sequence, budget: int, others: int) -> None:
        """Check as much of the draft as pays in this step."""
        assert sequence.drafter is not None
        most = min(len(sequence.draft), budget - 1)
        count = worthwhile(self.capabilities.costs, others, sequence.drafter.own, most)
        sequence.drafted, sequence.draft = sequence.draft[:count], []

    def _chunk(self, sequence: Sequence, budget: int, singles: int) -> int:
        """How many of several pending tokens go into this step; 0 when the step's budget is spent."""
        count = sequence.pending
        if not self.capabilities.mixed_chunks and self._pace.cheaper_one_by_one(count, singles):
            return 1
        # Whoever comes meanwhile waits for what has begun, and for this one nobody does.
        count = min(count, budget, LASTING_CHUNK if sequence.lasting else budget)
        return count if count > 1 else 0
