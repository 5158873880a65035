"""FailureSensorIQ, closed book: which failure mode or sensor is most relevant to an asset? Knows no manuals.

Its options carry a prior: some are right far more often than others, whatever is asked. So the figure to hold
a model against is not chance but that prior, learned from the other assets' questions and tried on one whole
asset after the other. A model has a prior of its own, too: which options it likes whatever it is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from lineside.evaluation.cases import EvaluationError, lines_of

QUESTIONS = "failuresensoriq_10options.jsonl"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question; `correct` says of each option whether it is right."""

    id: int
    question: str
    options: tuple[str, ...]
    correct: tuple[bool, ...]
    asset_name: str


class Answered(NamedTuple):
    """A question, whether the likeliest option is right, and whether that beyond its prior is."""

    question: Question
    likeliest_right: bool
    beyond_prior_right: bool


class Scorer(Protocol):
    """A model that tells how likely it holds each option, as logarithms."""

    async def likelihoods(self, question: Question) -> list[float]:
        """As the answer to the question."""

    async def priors(self, question: Question) -> list[float]:
        """As the answer to no question in particular."""


def read_questions(path: Path) -> list[Question]:
    """Raises EvaluationError naming the line."""
    questions = []
    for number, line in enumerate(lines_of(path), 1):
        questions.append(_question(line, f"{path}, line {number}"))
    if not questions:
        raise EvaluationError("read questions", f"{path} holds no question", "fetch the file again")
    return questions


def _question(line: bytes, where: str) -> Question:
    try:
        question = msgspec.json.decode(line, type=Question)
    except msgspec.DecodeError as error:
        raise EvaluationError("read questions", f"{where}: {error}", "fetch the file again") from error
    if len(question.options) != len(question.correct) or not question.options:
        hint = "every question has as many marks in `correct` as it has options"
        raise EvaluationError("read questions", f"{where}: options and correct differ in length", hint)
    return question


def chance(questions: Sequence[Question]) -> float:
    """What picking blindly is expected to score."""
    return round(sum(sum(one.correct) / len(one.options) for one in questions) / len(questions), 4)


def prior_by_asset(questions: Sequence[Question]) -> dict[str, float]:
    """For each asset, the score of the option that is right most often among all other assets' questions."""
    assets = sorted({one.asset_name for one in questions})
    return {
        asset: prior_on(questions, [one for one in questions if one.asset_name == asset]) for asset in assets
    }


def prior(questions: Sequence[Question]) -> float:
    """Over all questions, each answered by what the other assets' questions taught."""
    return prior_on(questions, questions)


def prior_on(questions: Sequence[Question], asked: Sequence[Question]) -> float:
    """Over some of them, each answered by what the other assets' questions among all of them taught."""
    right = 0
    for asset in {one.asset_name for one in asked}:
        taught = _frequencies([one for one in questions if one.asset_name != asset])
        right += _right([one for one in asked if one.asset_name == asset], taught)
    return round(right / len(asked), 4)


def sample_questions(questions: Sequence[Question], size: int, seed: int) -> list[Question]:
    """`size` of them, all where it is 0; the same ones for the same seed."""
    if not 0 < size < len(questions):
        return list(questions)
    return random.Random(seed).sample(list(questions), size)  # noqa: S311 a sample, no secret


def prior_seen(questions: Sequence[Question]) -> float:
    """The same with nothing held out: how much of a score can be had by knowing the options alone."""
    return round(_right(questions, _frequencies(questions)) / len(questions), 4)


async def answered(
    questions: Sequence[Question], scorer: Scorer, advance: Callable[[], None]
) -> AsyncIterator[Answered]:
    """What the model makes of each question."""
    for question in questions:
        likely, priors = await scorer.likelihoods(question), await scorer.priors(question)
        beyond = [one - prior for one, prior in zip(likely, priors, strict=True)]
        advance()
        yield Answered(question, _best_right(question, likely), _best_right(question, beyond))


def _frequencies(questions: Sequence[Question]) -> dict[str, float]:
    """How often each option was right where it was offered; one that was seen seldom counts as less."""
    offered: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for question in questions:
        for option, correct in zip(question.options, question.correct, strict=True):
            offered[option] += 1
            right[option] += correct
    return {option: right[option] / (count + 1) for option, count in offered.items()}


def _right(questions: Sequence[Question], frequencies: dict[str, float]) -> int:
    right = 0
    for question in questions:
        right += _best_right(question, [frequencies.get(option, 0.0) for option in question.options])
    return right


def _best_right(question: Question, scores: Sequence[float]) -> bool:
    return question.correct[max(range(len(scores)), key=lambda place: scores[place])]
