"""How fast the engine really is, and what follows for a step. Knows no clock, no sequences and no caches.

The costs were measured with the machine quiet, at the start: heat, a power mode, other processes change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.engine.base import Capabilities, Costs, Extension
from lineside.serving.drafts import MOST_TOKENS

# Running sequences wait for a chunk as long as for so many steps of their own, and as much longer as there
# are more prompts to read than sequences that wait: few tokens a step cost the most each.
STALL_STEPS = 8
# A chunk is not cut so short that more than a quarter of it is what every chunk costs.
LEAST_OVER_FIXED = 3
# Where a critical request may come any moment, it waits for others no longer than for so many steps.
ALERT_STEPS = 4
# By so much of its time the reading of a critical prompt may be slowed for steps of others.
BESIDE_CRITICAL = 0.125
LEARN = 0.1
# What is timed once may have been held up by anything.
RATIO_MIN, RATIO_MAX = 0.2, 5.0
# What is said to be impossible is so by this much.
MARGIN = 0.9


@dataclass(slots=True)
class Pace:
    """Measured over predicted time, of steps and of chunks; what was seen lately weighs more."""

    capabilities: Capabilities
    step: float = 1.0
    chunk: float = 1.0
    _beside_ns: float = 0.0  # what critical chunks have allowed others since these last had a step

    def learn(self, batch: Sequence[Extension], measured_ns: int) -> None:
        """A batch has taken so long."""
        costs = self.capabilities.costs
        chunks = [e for e in batch if len(e.tokens) > 1]
        steps_ns = costs.step(len(batch) - len(chunks))
        if not chunks:
            self.step = _towards(self.step, measured_ns / steps_ns)
            return
        chunks_ns = sum(costs.chunk(len(e.tokens), max(len(e.rows), 1)) for e in chunks)
        self.chunk = _towards(self.chunk, (measured_ns - self.step * steps_ns) / chunks_ns)

    def budget(self, singles: int, unread: int, *, alert: bool = False) -> int:
        """Tokens of longer chunks in a step beside `singles` sequences, with `unread` prompts to read.

        The more prompts for each of these, the longer. `alert`: something critical may come meanwhile.
        """
        most = self.capabilities.max_chunk_tokens
        if not singles and not alert:
            return most
        costs = self.capabilities.costs
        patience_ns = STALL_STEPS * self.step * costs.step(singles)
        patience_ns *= max(unread / max(singles, 1), 1.0)
        if alert:
            alert_ns = ALERT_STEPS * self.step * costs.step(1)
            patience_ns = min(patience_ns, alert_ns) if singles else alert_ns
        fitting = (patience_ns / self.chunk - costs.chunk_fixed_ns) / costs.chunk_token_ns
        least = max(LEAST_OVER_FIXED * costs.chunk_fixed_ns / costs.chunk_token_ns, 2)
        return min(max(round(fitting), round(least)), most)

    def chunk_ns(self, tokens: int) -> float:
        """How long a chunk of so many tokens is likely to take."""
        return self.chunk * self.capabilities.costs.chunk(tokens)

    def lets_in(self, chunks: Sequence[int], singles: int, others: int) -> bool:
        """Whether `others` sequences may step beside critical ones: `singles` steps, and chunks so long."""
        costs = self.capabilities.costs
        self._beside_ns += BESIDE_CRITICAL * sum(map(self.chunk_ns, chunks))
        if self._beside_ns < self.step * (costs.step(singles + others) - costs.step(singles)):
            return False
        self._beside_ns = 0.0
        return True

    def cheaper_one_by_one(self, count: int, singles: int) -> bool:
        """Whether `count` tokens beside `singles` other sequences hold everyone up less as single steps.

        Compared is the delay summed over all of them: a chunk is over sooner, but the others stand still.
        """
        costs = self.capabilities.costs
        together = costs.step(singles + 1)
        by_steps = count * (together + singles * (together - costs.step(singles)))
        by_chunk = costs.step(singles) + (singles + 1) * costs.chunk(count)
        return by_steps <= by_chunk

    def least_ns(self, unread_tokens: int, picks: int) -> int:
        """The least time in which so many tokens can be read and so many more picked, drafts being right."""
        costs = self.capabilities.costs
        reading = costs.chunk(unread_tokens) if unread_tokens > 1 else 0
        return round(MARGIN * min(self.step, self.chunk, 1.0) * (reading + picks * _least_pick_ns(costs)))


def _least_pick_ns(costs: Costs) -> int:
    """The least that a token can cost: alone, or as one of a draft that was right from end to end."""
    most = MOST_TOKENS + 1
    return min(costs.step(1), costs.chunk(most, most) // most)


def _towards(mean: float, ratio: float) -> float:
    return mean + LEARN * (min(max(ratio, RATIO_MIN), RATIO_MAX) - mean)
