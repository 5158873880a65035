"""The part that a reasoning model thinks before it answers: its marks, its budget, its end.

Knows nothing of engines and of requests. A thought is always opened by the prompt, so that a budget of none
can close it at once; one that comes to its budget's end is closed by tokens that the model did not pick.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OPEN, CLOSE = "<think>", "</think>"
AFTER_CLOSE = "\n\n"
FORCED_CLOSE = f"\n{CLOSE}{AFTER_CLOSE}"


def begun(prompt: str, budget: int) -> str:
    """A rendered prompt with the thought begun, or, without a budget, closed again."""
    tail = prompt.rstrip()
    if budget:
        return prompt if tail.endswith(OPEN) else f"{prompt}{OPEN}\n"
    if tail.endswith(CLOSE):
        return prompt
    return f"{tail}{FORCED_CLOSE}" if tail.endswith(OPEN) else f"{prompt}{OPEN}\n{FORCED_CLOSE}"


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of the marks, of what follows the closing one, and of what closes a thought by force."""

    open: int
    close: int
    after: tuple[int, ...]
    forced: tuple[int, ...]


@dataclass(slots=True)
class Thought:
    """One sequence's thinking. `inside`: the next token belongs to it. Raw prompts may not have begun it."""

    marks: Marks
    prompt: tuple[int, ...]
    budget: int
    inside: bool = field(init=False)
    spent: int = 0

    def __post_init__(self) -> None:
        marks = [token for token in self.prompt if token in (self.marks.open, self.marks.close)]
        self.inside = bool(marks) and marks[-1] == self.marks.open

    def opened(self, token: int) -> bool:
        """Whether a token outside of a thought begins one."""
        self.inside = token == self.marks.open
        return self.inside

    def take(self, token: int, *, ends: bool) -> list[int]:
        """A token of the thought; it and what follows by force. `ends`: the model would end everything."""
        if token == self.marks.close:
            return self._closed([token, *self.marks.after])
        if ends or self.spent + 1 >= self.budget:
            return self._closed([*([] if ends else [token]), *self.marks.forced])
        self.spent += 1
        return [token]

    def _closed(self, tokens: list[int]) -> list[int]:
        self.inside = False
        self.spent += len(tokens)
        return tokens
