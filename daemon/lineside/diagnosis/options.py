"""Retrieved entries as an answer may use them. Knows nothing of reports and of models."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.diagnosis.knowledge.entry import Entry, Language, Text
from lineside.diagnosis.knowledge.retrieval import Candidate, Retrieval
from lineside.diagnosis.work import (
    is_safety_function,
    rests_on_safety_function,
    suggestible,
    suggestible_text,
)


@dataclass(frozen=True, slots=True)
class Option:
    """A retrieved entry, and the reference by which the answer cites it, in its language where it can be.

    `ranks`: where evidence has put the causes in another order, the place of each in the manual's, from 0 on.
    """

    ref: str
    entry: Entry
    text: Text
    score: float
    safety_function: bool
    causes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    safety: tuple[str, ...] = ()
    meaning: str = ""
    # The report's own evidence has put the causes in order.
    decided: bool = False
    ranks: tuple[int, ...] = ()

    @classmethod
    def of(cls, number: int, candidate: Candidate, language: Language) -> Option:
        """Leave out what may not be suggested; it stays quotable from the text.

        Of a safety function nothing but the title is said in the manual's words: no list of forbidden words
        is complete, and what slips through it there costs more than a finger.
        """
        entry, text = candidate.entry, candidate.entry.text(language)
        if is_safety_function(entry):
            return cls(f"K{number}", entry, text, candidate.score, safety_function=True)
        careful = rests_on_safety_function(entry)
        return cls(
            ref=f"K{number}",
            entry=entry,
            text=text,
            score=candidate.score,
            safety_function=False,
            causes=suggestible(text.causes, safety_function=careful),
            actions=suggestible(text.actions, safety_function=careful),
            safety=suggestible(text.safety, safety_function=careful),
            meaning=suggestible_text(text.meaning, safety_function=careful),
        )

    @property
    def cause_ids(self) -> tuple[str, ...]:
        """Names of the causes, such as K1.c1: numbered as in the manual, whatever their order here."""
        return tuple(f"{self.ref}.c{rank + 1}" for rank in self._ranks)

    @property
    def listed_causes(self) -> tuple[tuple[str, str], ...]:
        """Each cause behind its name, in the manual's order."""
        named = zip(self._ranks, self.cause_ids, self.causes, strict=True)
        return tuple((name, cause) for _, name, cause in sorted(named))

    @property
    def leaves_choice(self) -> bool:
        """Whether a model could say anything of it, were it the only one."""
        return bool(self.causes) or len(self.actions) > 1

    @property
    def settled(self) -> bool:
        """Nothing about the causes is left to choose."""
        return self.decided or len(self.causes) < 2

    @property
    def action_ids(self) -> tuple[str, ...]:
        """Names of the actions, such as K1.a1."""
        return tuple(f"{self.ref}.a{number}" for number in range(1, len(self.actions) + 1))

    @property
    def _ranks(self) -> tuple[int, ...]:
        return self.ranks or tuple(range(len(self.causes)))


def options_of(retrieval: Retrieval, language: Language) -> tuple[Option, ...]:
    """The retrieved entries as K1, K2, ..."""
    return tuple(Option.of(n, candidate, language) for n, candidate in enumerate(retrieval.candidates, 1))
