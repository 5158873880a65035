"""A request while it runs: picks, grammar, text and the count of what it used. Knows nothing of engines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineside.errors import Reason
from lineside.serving.drafts import agreed
from lineside.serving.grammar import Grammar
from lineside.serving.request import (
    EndEvent,
    Event,
    FinishReason,
    Request,
    Timings,
    TokenEvent,
    Usage,
)
from lineside.serving.sampler import Sampler
from lineside.serving.thinking import Thought
from lineside.serving.tokenizer import StopStrings, TextStream, Tokenizer

if TYPE_CHECKING:
    from lineside.engine.base import Logits, Rows


@dataclass(slots=True)
class Generation:
    """Turns logits into tokens and events for one request. `max_seq_len` caps prompt and output together."""

    request: Request
    tokenizer: Tokenizer
    grammar: Grammar | None
    max_seq_len: int
    deliver: Callable[[Event], None]
    admitted_ns: int
    started_ns: int = 0
    running: bool = False
    picked_ns: int = 0
    first_token_ns: int = 0
    completion_tokens: int = 0
    forced_tokens: int = 0
    reused_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    energy_j: float | None = None
    _sampler: Sampler = field(init=False)
    _stops: StopStrings = field(init=False)
    _text: TextStream = field(init=False)
    # Of tokens whose text is not final yet: part of a character, or of what may become a stop string.
    _held: list[int] = field(default_factory=list)
    _held_probability: float = 1.0
    # Whose text is made once it is asked for: no choice hangs on it.
    _unread: list[int] = field(default_factory=list)
    _spoken: bool = False
    _cut: bool = False
    _thought: Thought | None = None

    def __post_init__(self) -> None:
        if self.tokenizer.marks:
            self._thought = Thought(self.tokenizer.marks, self.request.prompt, self.request.thinking_tokens)
        self._sampler = Sampler(self.request.sampling)
        self._stops = StopStrings(self.request.sampling.stop)
        self._text = self.tokenizer.stream()

    def open(self, now_ns: int) -> list[int]:
        """The tokens to begin with: the prompt and what the grammar forces; empty when that is the whole."""
        if self._thought and self._thought.inside:
            return list(self.request.prompt)
        forced = self._forced()
        if self._emit(forced, 1.0):
            return self._finish(FinishReason.STOP, now_ns)
        return [*self.request.prompt, *forced] if self._goes_on(now_ns) else []

    def take(self, rows: Rows, now_ns: int, drafted: Sequence[int] = ()) -> list[int]:
        """Pick from the first row's logits, then, as long as the picks are what was drafted, from the next.

        The tokens to go on with, empty when the sequence has ended. Each pick is the one that would have been
        made without a draft: the text, or where tokens are drawn its distribution, is the same.
        """
        if not drafted:
            return self._pick(rows[0], now_ns)
        self.drafted_tokens += len(drafted)
        taken: list[int] = []
        while True:
            tokens = self._pick(rows[len(taken)], now_ns)
            taken += tokens
            if not tokens or len(taken) > len(drafted) or taken != [*drafted[: len(taken)]]:
                break
        self.accepted_tokens += agreed(drafted, taken)
        return taken if tokens else []

    def permitted(self, draft: list[int]) -> list[int]:
        """As much of a draft as may follow; behind an end token nothing does."""
        end = next((index for index, token in enumerate(draft) if token in self.tokenizer.eos), len(draft))
        if self.grammar and end and not (self._thought and self._thought.inside):
            return draft[: self.grammar.fits(draft[:end])]
        return draft[:end]

    def _pick(self, logits: Logits, now_ns: int) -> list[int]:
        if self._thought and self._thought.inside:
            return self._think(self._thought, self._sampler.token(logits), now_ns)
        if self.grammar:
            token, probability = self._sampler.pick(logits, self.grammar.allowed())
        else:
            token, probability = self._sampler.token(logits), 1.0
        if self._thought and not self.grammar and self._thought.opened(token):
            return self._think(self._thought, token, now_ns)
        self.first_token_ns = self.first_token_ns or now_ns
        self.completion_tokens += 1
        if self.grammar:
            self.grammar.accept(token)
        if token in self.tokenizer.eos:
            return self._finish(FinishReason.STOP, now_ns)
        tokens = [token, *self._forced()] if self.grammar else [token]
        if self._emit(tokens, probability):
            return self._finish(FinishReason.STOP, now_ns)
        return tokens if self._goes_on(now_ns) else []

    def _think(self, thought: Thought, token: int, now_ns: int) -> list[int]:
        """Go on with a thought; once it is closed, with the answer."""
        self.speak()
        tokens = thought.take(token, ends=token in self.tokenizer.eos)
        text = self._text.push(tokens)
        if text and self.request.show_thinking:
            self.deliver(TokenEvent(text, tuple(tokens), thinking=True))
        if thought.inside:
            if self._room() > 0:
                return tokens
            return self._finish(FinishReason.LENGTH, now_ns)
        self._text = self.tokenizer.stream()
        forced = self._forced()
        if self._emit(forced, 1.0):
            return self._finish(FinishReason.STOP, now_ns)
        return [*tokens, *forced] if self._goes_on(now_ns) else []

    def abort(self, reason: Reason, message: str, now_ns: int) -> None:
        """End without a result of its own."""
        with contextlib.suppress(Exception):  # it ends already, and for this reason
            self.speak()
        self.deliver(self._end(FinishReason.ABORTED, now_ns, reason, message))

    def _goes_on(self, now_ns: int) -> bool:
        """Whether another token may follow; ends the generation where none may."""
        complete = self.grammar is not None and self.grammar.complete
        if self._cut or (not complete and self._room() <= 0):
            self._finish(FinishReason.LENGTH, now_ns)
        elif complete:
            self._finish(FinishReason.STOP, now_ns)
        else:
            return True
        return False

    def _room(self) -> int:
        by_cap = self.max_seq_len - len(self.request.prompt) - (self._thought.spent if self._thought else 0)
        return min(self.request.sampling.max_tokens, by_cap) - self.completion_tokens

    def _forced(self) -> list[int]:
        """Accepted forced tokens, no more than there is room for: those that do not fit end it by length."""
        if self.grammar is None:
            return []
        forced = self.grammar.take_forced()
        kept = forced[: max(self._room(), 0)]
        self._cut = len(kept) < len(forced)
        self.completion_tokens += len(kept)
        self.forced_tokens += len(kept)
        return kept

    def _emit(self, tokens: list[int], probability: float) -> bool:
        """Deliver text that became final; true when a stop string ended it.

        That of all but the first tokens is left to `speak` where neither grammar nor stop strings want it.
        """
        if self._spoken and self.grammar is None and not self.request.sampling.stop:
            self._unread += tokens
            return False
        self._held += tokens
        self._held_probability *= probability
        text, stopped = self._stops.push(self._text.push(tokens))
        if text:
            self._deliver(text)
        return stopped

    def speak(self) -> None:
        """Deliver the text that became final with the tokens since the last call."""
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        text, read = self._text.read(unread)
        self._held += unread[:read]
        if text:
            self._deliver(text)
        self._held += unread[read:]

    def _deliver(self, text: str) -> None:
        """With it every token since the last text, and how likely all of them were."""
        self._spoken = True
        self.deliver(TokenEvent(text, tuple(self._held), self._held_probability))
        self._held, self._held_probability = [], 1.0

    def _finish(self, finish: FinishReason, now_ns: int) -> list[int]:
        self.speak()
        if held := self._stops.flush():
            self._deliver(held)
        self.deliver(self._end(finish, now_ns))
        return []

    def _end(
        self, finish: FinishReason, now_ns: int, reason: Reason | None = None, message: str = ""
    ) -> EndEvent:
        thought = self._thought.spent if self._thought else 0
        usage = Usage(
            len(self.request.prompt),
            self.completion_tokens,
            self.forced_tokens,
            thought,
            min(self.reused_tokens, len(self.request.prompt)),
            self.drafted_tokens,
            self.accepted_tokens,
        )
        timings = Timings.between(self.admitted_ns, self.started_ns, self.first_token_ns, now_ns)
        return EndEvent(finish, usage, timings, reason, message, self.energy_j)
