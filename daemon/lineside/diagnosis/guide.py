"""What the model may answer: a JSON Schema for each request, and the reading of what came back.

Knows nothing of prompts or engines. The model decides little, and nothing that can be invented: which entry,
which order, and how severe where nobody says. Lists are offered as whole orders, so that a small model can
neither repeat an item nor forget one; and what follows from a decision is forced, which costs it no step.
What was decided without it comes last, where it need not even be read.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lineside.diagnosis.diagnosis import SeverityName
from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.options import Option
from lineside.diagnosis.report import Report
from lineside.diagnosis.rules import SEVERITIES, Choice, severity_floor

NONE = "none"
# Of up to three causes every order is offered, of more which two come first: so few orders compile in a
# millisecond, and further down the manual's order serves.
RANKED, RANKED_OF_MANY = 3, 2
MAX_RANKABLE = 5


class _Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: str
    causes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    severity: SeverityName = "low"


@dataclass(frozen=True, slots=True)
class Guide:
    """The schema for these options. `open`: the model may say that no option fits."""

    options: tuple[Option, ...]
    severities: tuple[tuple[SeverityName, ...], ...]
    open: bool

    def schema(self) -> str:
        """The JSON Schema, compact, for the grammar of one request."""
        pairs = zip(self.options, self.severities, strict=True)
        shapes = [self._shape(option, allowed) for option, allowed in pairs]
        if self.open:
            shapes.append(_object({"entry": {"const": NONE}}))
        schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        return json.dumps({"x-guidance": {"whitespace_flexible": False}, **schema}, separators=(",", ":"))

    def longest(self) -> str:
        """A text at least as long as any that the schema allows: for counting tokens."""
        return max((self._sample(option) for option in self.options), key=len)

    def read(self, text: str) -> Choice | None:
        """The model's decision; None: it says that no option fits. Raises ValueError on anything else."""
        try:
            output = msgspec.json.decode(text, type=_Output)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
        if output.entry == NONE and self.open:
            return None
        refs = [option.ref for option in self.options]
        if output.entry not in refs:
            raise ValueError(f"entry {output.entry} was not offered")
        index = refs.index(output.entry)
        option = self.options[index]
        return Choice(
            option=index,
            causes=_positions(output.causes, option.cause_ids),
            checks=_positions(output.checks, option.action_ids),
            severity=output.severity,
        )

    def _shape(self, option: Option, allowed: tuple[SeverityName, ...]) -> dict[str, Any]:
        entry = {"entry": {"const": option.ref}}
        rest = {"checks": _orders(option.action_ids), "severity": {"enum": list(allowed)}}
        if option.decided:
            # What the report's own evidence has decided is not the model's to turn round.
            return _object({**entry, **rest, "causes": {"const": _first(option.cause_ids)}})
        return _object({**entry, "causes": _orders(option.cause_ids), **rest})

    def _sample(self, option: Option) -> str:
        causes, checks = option.cause_ids[:RANKED], option.action_ids[:RANKED]
        sample = {"entry": option.ref, "causes": causes, "checks": checks, "severity": "critical"}
        return json.dumps(sample, separators=(",", ":"))


def allowed_severities(report: Report, entry: Entry) -> tuple[SeverityName, ...]:
    """What the manual or the alarm says stands; where neither says any, the model may raise it a step."""
    floor = severity_floor(report, [entry])
    if entry.severity is not None or report.alarm.sev is not None:
        return (floor,)
    at = SEVERITIES.index(floor)
    return SEVERITIES[at : at + 2]


def _first(ids: Sequence[str]) -> list[str]:
    """The beginning of the order that stands."""
    return list(ids[: RANKED if len(ids) <= RANKED else RANKED_OF_MANY])


def _orders(ids: Sequence[str]) -> dict[str, Any]:
    """One list of ids out of every order that the model may choose."""
    rankable = ids[:MAX_RANKABLE]
    picked = len(rankable) if len(rankable) <= RANKED else RANKED_OF_MANY
    orders = [{"const": list(order)} for order in itertools.permutations(rankable, picked)]
    return orders[0] if len(orders) == 1 else {"anyOf": orders}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _positions(chosen: Sequence[str], ids: Sequence[str]) -> tuple[int, ...]:
    if any(one not in ids for one in chosen):
        raise ValueError(f"{', '.join(chosen)} were not all offered")
    return tuple(ids.index(one) for one in chosen)
