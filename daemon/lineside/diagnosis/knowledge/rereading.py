"""A second opinion across languages: entries ranked anew by how likely a model holds the text behind each.

Words cannot be compared across languages, and vectors alone decide there. Knows the prompts and what the
likelihoods are worth; knows no model and no search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.fusion import Fused, ReadingWeights, log_odds

# So many entries are read, and no more of each: reading is what takes the time.
READ = 5
TITLE_CHARS, MEANING_CHARS, CAUSE_CHARS = 200, 300, 120
_DISPLAY = "The alarm shown on the machine's display:"
# What the text is worth behind no entry in particular.
NO_ENTRY = f"A maintenance technician's note.\n{_DISPLAY}"


class Reading(NamedTuple):
    """What a model made of a text: by entry id its log likelihood behind the entry, less that behind none."""

    gains: Mapping[str, float]
    weights: ReadingWeights


class Ranked(NamedTuple):
    """An entry and the score that it is ranked by."""

    fused: Fused
    score: float


class Evidence(NamedTuple):
    """What the confidence in the first entry is computed from, once a model has read.

    `share`: the search's own confidence, as log odds. `gain`: the first entry's. `lead`: over the best other
    one's. `kept`: 1 where the search had it first, too.
    """

    share: float
    gain: float
    lead: float
    kept: float


def behind(entry: Entry, language: Language) -> str:
    """The prompt that a text of that language is read behind."""
    text = entry.text(language)
    causes = " ".join(text.causes)[:CAUSE_CHARS]
    return f"Manual entry. {text.title[:TITLE_CHARS]}. {text.meaning[:MEANING_CHARS]} {causes}\n{_DISPLAY}"


def first_of(scores: Sequence[float], gains: Sequence[float], ranking: float) -> int:
    """The place of the entry that comes first where a gain counts so much beside the search's score."""
    return max(range(len(scores)), key=lambda place: scores[place] + ranking * gains[place])


def evidence_of(share: float, gains: Sequence[float], first: int) -> Evidence:
    """Of the entry at place `first` of the search's ranking, where `share` is the confidence in its first."""
    others = [gain for place, gain in enumerate(gains) if place != first]
    lead = gains[first] - max(others, default=gains[first])
    return Evidence(log_odds(share), gains[first], lead, float(first == 0))


def confidence(evidence: Evidence, weights: ReadingWeights) -> float:
    """That the entry which now comes first is the right one."""
    values = (weights.share, weights.gain, weights.lead, weights.kept)
    odds = weights.bias + sum(value * weight for value, weight in zip(evidence, values, strict=True))
    return 1 / (1 + math.exp(-max(min(odds, 50.0), -50.0)))


def reread(ranked: Sequence[Fused], share: float, reading: Reading) -> tuple[list[Ranked], float]:
    """The ranking anew, and the confidence in its first. What has not been read stays behind what has.

    An entry that came in since the model read counts as one that it made nothing of.
    """
    read, rest = ranked[:READ], ranked[READ:]
    scores, gains = [one.score for one in read], [reading.gains.get(one.found.entry.id, 0.0) for one in read]
    first = first_of(scores, gains, reading.weights.ranking)
    conf = confidence(evidence_of(share, gains, first), reading.weights)
    worth = [score + reading.weights.ranking * gain for score, gain in zip(scores, gains, strict=True)]
    order = sorted(range(len(read)), key=lambda place: -worth[place])
    anew = [Ranked(read[place], worth[place]) for place in order]
    return anew + [Ranked(one, min(one.score, anew[-1].score)) for one in rest], conf
