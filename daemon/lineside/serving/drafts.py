"""Guesses at how a text goes on, looked up in the text itself. Knows no engine, no grammar and no logits.

Answers quote their prompts: where the last few tokens have stood before, what followed them then may follow
now. Several guesses are checked in one call; how often they prove right says whether that pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lineside.engine.base import Costs

# The longer is looked up first: it is right more often.
GRAMS = (3, 2)
MOST_TOKENS = 7
# Of what is gained by the costs as they were measured at the start, less is no gain for certain.
LEAST_GAIN = 1.05
FIRST_CHANCE = 0.5
# So many guesses before the last count for as much as a new sequence's first.
PRIOR_GUESSES = 4.0
MEMORY = 0.95


@dataclass(slots=True)
class Rate:
    """How often something is so; what was seen lately weighs more."""

    yes: float = FIRST_CHANCE * PRIOR_GUESSES
    no: float = (1 - FIRST_CHANCE) * PRIOR_GUESSES

    @property
    def mean(self) -> float:
        """Between 0 and 1."""
        return self.yes / (self.yes + self.no)

    def learn(self, yes: int, no: int) -> None:
        """So many of each have been seen."""
        kept = MEMORY ** (yes + no)
        self.yes, self.no = self.yes * kept + yes, self.no * kept + no

    def prior(self) -> Rate:
        """The same mean, soon overruled."""
        return Rate(self.mean * PRIOR_GUESSES, (1 - self.mean) * PRIOR_GUESSES)


@dataclass(slots=True)
class Chances:
    """How often the first token of a guess is right, and how often the next one behind one that was."""

    first: Rate = field(default_factory=Rate)
    next: Rate = field(default_factory=Rate)

    def learn(self, guess: Sequence[int], came: Sequence[int]) -> None:
        """What `came` in the place of a guess, as far as it has come."""
        right = agreed(guess, came)
        wrong = int(right < min(len(came), len(guess)))
        if came and not right:
            self.first.learn(0, 1)
        elif came:
            self.first.learn(1, 0)
            self.next.learn(right - 1, wrong)

    def begun(self) -> Chances:
        """For a new sequence: as likely as lately."""
        return Chances(self.first.prior(), self.next.prior())


CERTAIN = Chances(Rate(1.0, 0.0), Rate(1.0, 0.0))


@dataclass(slots=True)
class Drafter:
    """One sequence's guesses. They are scored whether or not they were used, so that it can begin to pay."""

    common: Chances
    own: Chances = field(init=False)
    _follows: dict[tuple[int, ...], int] = field(default_factory=dict)
    _seen: int = 0
    _guess: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own = self.common.begun()

    def propose(self, tokens: list[int]) -> list[int]:
        """What may follow all `tokens` of the sequence, which have grown since the last call."""
        if self._guess:
            for chances in (self.own, self.common):
                chances.learn(self._guess, tokens[self._seen :])
        for end in range(max(self._seen, 1), len(tokens)):
            for size in GRAMS:
                if size <= end:
                    self._follows[tuple(tokens[end - size : end])] = end
        self._seen = len(tokens)
        self._guess = self._look_up(tokens)
        return self._guess

    def _look_up(self, tokens: list[int]) -> list[int]:
        for size in GRAMS:
            found = self._follows.get(tuple(tokens[-size:]))
            if found is not None:  # what goes round goes on going round
                return [tokens[found + index % (len(tokens) - found)] for index in range(MOST_TOKENS)]
        return []


def agreed(guessed: Sequence[int], came: Sequence[int]) -> int:
    """How many tokens from the first on are the same."""
    count = 0
    for guess, token in zip(guessed, came, strict=False):
        if guess != token:
            break
        count += 1
    return count


def worthwhile(costs: Costs, others: int, chances: Chances, most: int) -> int:
    """How many guesses bring the most tokens a second, beside `others` sequences that all wait for the step.

    0 where none do.
    """
    best, best_rate = 0, LEAST_GAIN * (others + 1) / costs.step(others + 1)
    right, following = chances.first.mean, chances.next.mean
    expected, others_ns = 1.0, costs.step(others)
    for count in range(1, most + 1):
        expected += right
        right *= following
        rate = (others + expected) / (others_ns + costs.chunk(count + 1, count + 1))
        if rate > best_rate:
            best, best_rate = count, rate
    return best
