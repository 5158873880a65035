"""Words and vectors together: one score to rank entries by, and how likely the first is the right one.

Knows no storage and no models. Weights and threshold come from calibration.toml, which `lineside eval
--calibrate` writes; what they were fitted on stands in that file.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec

from lineside.diagnosis.knowledge.store import Found
from lineside.toml_file import parse_toml

# How much of a text an entry holds in whatever order counts less than that it comes back in order.
DESCRIBED_WEIGHT = 0.8
# Texts from this many words on describe a fault; a shorter one quotes a display. Two Chinese characters,
# about, are a word.
LONG_WORDS = 8.0
_WORDS = re.compile(r"[A-Za-z0-9]+")
_CJK = re.compile(r"[\u3400-\u9fff]")

Kind = Literal["short", "long", "foreign"]
# Inclusive bounds keep infinities and what is no number out.
Weight = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
Threshold = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic model of one kind of text: the log odds that the first entry is the right one.

    `threshold`: below that probability the answer is an abstention.
    """

    threshold: Threshold
    bias: Weight
    words: Weight
    vector: Weight
    margin: Weight
    unknown_code: Weight


class ChoiceWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same of the entry that a model has chosen, by retrieval's score and the choice's probability."""

    threshold: Threshold
    bias: Weight
    score: Weight
    choice: Weight

    def probability(self, score: float, choice: float) -> float:
        """That the chosen entry is the right one."""
        odds = self.bias + self.score * log_odds(score) + self.choice * log_odds(choice)
        return 1 / (1 + math.exp(-odds))


class ReadingWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same of the entry that comes first once a model has read the text behind the best few.

    `ranking`: what a gain of one counts beside a fused score. The others: see rereading.Evidence.
    """

    threshold: Threshold
    ranking: Weight
    bias: Weight
    share: Weight
    gain: Weight
    lead: Weight
    kept: Weight


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """calibration.toml. `origin`: what it was fitted on. `models`: by the name that answers show.

    `reading`: by the same names; a model that has none is not asked to read.
    """

    format: Literal[1]
    short: Weights
    long: Weights
    foreign: Weights
    models: Annotated[dict[str, ChoiceWeights], msgspec.Meta(max_length=16)] = {}
    reading: Annotated[dict[str, ReadingWeights], msgspec.Meta(max_length=16)] = {}
    origin: dict[str, str | int | float] = {}

    def weights(self, kind: Kind) -> Weights:
        """Of one kind of text."""
        return {"short": self.short, "long": self.long, "foreign": self.foreign}[kind]


@dataclass(frozen=True, slots=True)
class Fused:
    """An entry with how well the text's words and its vector fit it, each from 0 to 1."""

    found: Found
    words: float
    vector: float

    @property
    def score(self) -> float:
        """What is ranked by. The cube: half of the words in common say nothing, nearly all of them decide."""
        return self.words**3 + 2 * self.vector


class Features(NamedTuple):
    """What the probability is computed from."""

    words: float
    vector: float
    margin: float
    unknown_code: float


def features_of(ranked: list[Fused], *, code: bool) -> Features:
    """Of the first of a ranking, that was asked for with a code nobody knows (`code`) or with none."""
    first = ranked[0]
    margin = first.score - ranked[1].score if len(ranked) > 1 else 0.0
    return Features(first.words**3, first.vector, margin, float(code))


def kind_of(text: str, *, comparable: bool) -> Kind:
    """Which weights a text takes; `comparable`: the first entry has words in the text's language."""
    if not comparable:
        return "foreign"
    words = len(_WORDS.findall(text)) + len(_CJK.findall(text)) / 1.5
    return "long" if words >= LONG_WORDS else "short"


def probability(features: Features, weights: Weights) -> float:
    """That the first entry is the right one."""
    values = (weights.words, weights.vector, weights.margin, weights.unknown_code)
    odds = weights.bias + sum(value * weight for value, weight in zip(features, values, strict=True))
    return 1 / (1 + math.exp(-max(min(odds, 50.0), -50.0)))


def log_odds(probability: float) -> float:
    """Between -5 and 5: surer than that nobody is."""
    sure = min(max(probability, 1e-9), 1 - 1e-9)
    return min(max(math.log(sure / (1 - sure)), -5.0), 5.0)


def parse_calibration(content: bytes) -> Calibration:
    """Raises msgspec.ValidationError or TomlError."""
    return msgspec.convert(parse_toml(content), Calibration)


@functools.cache
def shipped_calibration() -> Calibration:
    """The one that comes with the program."""
    file = importlib.resources.files("lineside.diagnosis.knowledge") / "calibration.toml"
    return parse_calibration(file.read_bytes())
