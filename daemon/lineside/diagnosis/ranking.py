"""Which of an entry's causes the report's own evidence speaks for, by shared words. Knows nothing of models.

It only sorts: a cause is the manual's own sentence and cites the manual alone, whatever comes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.evidence import telling_terms
from lineside.diagnosis.knowledge.entry import Text
from lineside.diagnosis.knowledge.terms import query_terms
from lineside.diagnosis.options import Option
from lineside.diagnosis.relations import CHANGE, effects_apart, events_in
from lineside.diagnosis.report import Report
from lineside.diagnosis.work import addresses_reader

MIN_PART = 3


def ranked(options: Sequence[Option], report: Report, findings: Sequence[Evidence]) -> tuple[Option, ...]:
    """The options with their causes sorted, those that more evidence speaks for first."""
    alarm = "" if addresses_reader(report.alarm.text) else report.alarm.text
    lines = [alarm, *(found.quote for found in findings if found.kind == "log")]
    seen = _Seen(
        terms={term for line in lines for term in telling_terms(line)},
        changed={term for line in lines if CHANGE.search(line) for term in telling_terms(line)},
        events=frozenset(event for line in lines for event in events_in(line)),
        signals=tuple(found.src for found in findings if found.kind == "sensor"),
    )
    return tuple(_sorted(option, seen) for option in options)


class _Seen(NamedTuple):
    """What the evidence tells of: words, those of them that were in a line on a change, events, signals."""

    terms: set[str]
    changed: set[str]
    events: frozenset[str]
    signals: tuple[str, ...]


def _sorted(option: Option, seen: _Seen) -> Option:
    weights = {cause: _weight(option, cause, seen) for cause in option.causes}
    if len(set(weights.values())) < 2:
        return option
    ranks = sorted(range(len(option.causes)), key=lambda rank: weights[option.causes[rank]], reverse=True)
    causes = tuple(option.causes[rank] for rank in ranks)
    return dataclasses.replace(option, causes=causes, decided=True, ranks=tuple(ranks))


def _weight(option: Option, cause: str, seen: _Seen) -> tuple[int, int, int]:
    """How much of the evidence the cause shares. Where that is as much as another's, how much of the checks
    that a signal names: heater2 is of the cause whose heaters are to be measured. Then what has happened:
    whether the cause alone is of what was changed, and whether it is worded as what comes of such events.

    The log counts in the language in which most is shared, and so does each signal: beside a log in Chinese
    the signals have English names.
    """
    index = option.text.causes.index(cause)
    alike = [text for text in option.entry.texts if len(text.causes) == len(option.text.causes)]
    words = [_Words.of(text, index) for text in alike]
    logged = max(len(one.own & seen.terms) for one in words)
    named = sum(max(one.names(signal, one.own) for one in words) for signal in seen.signals)
    checked = max(one.to_check(text, seen.signals) for one, text in zip(words, alike, strict=True))
    changed = max(len(one.alone & seen.changed) for one in words)
    related = max(len(effects_apart(text)[index] & seen.events) for text in alike)
    return logged + named, checked, changed + related


class _Words(NamedTuple):
    """A cause's own words, and those that tell no cause apart: what the title or every cause says.

    `alone`: those that no other cause has, whether the title has them or not.
    """

    own: set[str]
    known: set[str]
    alone: set[str]

    @classmethod
    def of(cls, text: Text, index: int) -> _Words:
        every = [set(query_terms(cause)) for cause in text.causes]
        known = {*query_terms(f"{text.title} {text.meaning}"), *set[str]().union(*every).intersection(*every)}
        others = set[str]().union(*every[:index], *every[index + 1 :])
        own = {term for term in every[index] - known if len(term) < MIN_PART or not _within(term, known)}
        return cls(own, known, every[index] - others)

    def names(self, signal: str, words: set[str]) -> bool:
        return any(_begins(part, words) for part in _parts(signal) if not _within(part, self.known))

    def to_check(self, text: Text, signals: Sequence[str]) -> int:
        checks = [set(query_terms(action)) for action in text.actions]
        named = [check for check in checks if any(self.names(signal, check) for signal in signals)]
        return len(self.own & set[str]().union(*named))


def _parts(name: str) -> list[str]:
    return [part for part in query_terms(name) if len(part) >= MIN_PART and part.isalpha()]


def _begins(part: str, words: set[str]) -> bool:
    """cycle.rate speaks of rates and rated."""
    return any(word.startswith(part) for word in words)


def _within(part: str, words: set[str]) -> bool:
    """motor.temp, or a temperature, says nothing new of an overtemperature."""
    return any(part in word for word in words)
