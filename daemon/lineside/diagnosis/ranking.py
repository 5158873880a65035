"""Which of an entry's causes the report's own evidence speaks for, by shared words. Knows nothing of models.

It only sorts: a cause is the manual's own sentence and cites the manual alone, whatever comes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.evidence import telling_terms
from lineside.diagnosis.knowledge.entry import Text
from lineside.diagnosis.knowledge.terms import query_terms
from lineside.diagnosis.options import Option
from lineside.diagnosis.report import Report
from lineside.diagnosis.work import addresses_reader

MIN_PART = 3


def ranked(options: Sequence[Option], report: Report, findings: Sequence[Evidence]) -> tuple[Option, ...]:
    """The options with their causes sorted, those that more evidence speaks for first."""
    alarm = "" if addresses_reader(report.alarm.text) else report.alarm.text
    lines = [alarm, *(found.quote for found in findings if found.kind == "log")]
    terms = {term for line in lines for term in telling_terms(line)}
    signals = [found.src for found in findings if found.kind == "sensor"]
    return tuple(_sorted(option, terms, signals) for option in options)


def _sorted(option: Option, terms: set[str], signals: Sequence[str]) -> Option:
    weights = {cause: _weight(option, cause, terms, signals) for cause in option.causes}
    if len(set(weights.values())) < 2:
        return option
    causes = tuple(sorted(option.causes, key=lambda cause: -weights[cause]))
    return dataclasses.replace(option, causes=causes, decided=True)


def _weight(option: Option, cause: str, terms: set[str], signals: Sequence[str]) -> int:
    """How much of the evidence the cause shares, in whichever of the entry's languages it shares most."""
    index = option.text.causes.index(cause)
    alike = [text for text in option.entry.texts if len(text.causes) == len(option.text.causes)]
    return max(_shared(text, index, terms, signals) for text in alike)


def _shared(text: Text, index: int, terms: set[str], signals: Sequence[str]) -> int:
    """What the title says or every cause tells none of them apart."""
    every = [set(query_terms(cause)) for cause in text.causes]
    known = {*query_terms(f"{text.title} {text.meaning}"), *set[str]().union(*every).intersection(*every)}
    own = every[index] - known
    parts = [{part for part in _parts(name) if not _within(part, known)} for name in signals]
    return len(own & terms) + sum(any(_begins(part, own) for part in named) for named in parts)


def _parts(name: str) -> list[str]:
    return [part for part in query_terms(name) if len(part) >= MIN_PART and part.isalpha()]


def _begins(part: str, words: set[str]) -> bool:
    """cycle.rate speaks of rates and rated."""
    return any(word.startswith(part) for word in words)


def _within(part: str, words: set[str]) -> bool:
    """motor.temp says nothing new of an overtemperature."""
    return any(part in word for word in words)
