"""What the pipeline asks of a model. Interface only; knows nothing of how it is met."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from lineside.ports import Call, ChatMessage
from lineside.serving.request import Event


class Heard(NamedTuple):
    """Log probabilities of a text behind each prompt; what finding out drew, where that is measured."""

    logprobs: tuple[float, ...]
    energy_j: float | None = None


class Reader(Protocol):
    """A model that is asked how likely it holds a text; behind its engine's admission."""

    @property
    def model_name(self) -> str:
        """By which calibration knows it, and which answers show."""

    async def read(self, prompts: Sequence[str], text: str, call: Call) -> Heard:
        """How likely `text` is behind each prompt. Raises RejectedError where there is no time or no room."""


class Writer(Protocol):
    """A model behind its engine's admission."""

    @property
    def model_name(self) -> str:
        """Shown in answers."""

    @property
    def languages(self) -> Sequence[str]:
        """Languages in which its text may be shown, such as en and zh."""

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`. Thread-safe; called in a worker thread."""

    def prompt_budget(self, max_tokens: int) -> int:
        """Tokens that the messages' texts may have if `max_tokens` are to be written. Thread-safe."""

    async def warm_up(self, messages: Sequence[ChatMessage], timeout_s: float) -> None:
        """Read in what many prompts begin with, so that an engine that can keeps it. Raises RejectedError."""

    def write(
        self, messages: Sequence[ChatMessage], json_schema: str, call: Call, max_tokens: int
    ) -> AsyncIterator[Event]:
        """Token events, then one EndEvent; greedy. Closing it aborts. Raises RejectedError at first."""
