"""What a knowledge base holds, for people to look at. Knows nothing of files or of searching."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from lineside.diagnosis.knowledge.codes import EXACT, code_keys
from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.knowledge.writing import Content


class Source(NamedTuple):
    """A source, how much of it there is, and what it is about."""

    name: str
    entries: int
    scope: str


def sources_of(content: Content) -> list[Source]:
    """Every source, in the order of names."""
    by_name: dict[str, list[Entry]] = {}
    for entry in content.entries:
        by_name.setdefault(entry.source, []).append(entry)
    return [Source(name, len(found), _scope(found)) for name, found in sorted(by_name.items())]


def facts_of(content: Content) -> dict[str, object]:
    """Counts that tell what answers will lack."""
    entries = content.entries
    codes: dict[str, int] = {}
    for entry in entries:
        for key, rank in code_keys(entry.code):
            if rank == EXACT:
                codes[key] = codes.get(key, 0) + 1
    return {
        "version": content.version,
        "entries": len(entries),
        "confirmed here": sum(entry.confirmed is not None for entry in entries),
        "sources": len({entry.source for entry in entries}),
        "in English": sum(entry.en is not None for entry in entries),
        "in Chinese": sum(entry.zh is not None for entry in entries),
        "without a cause": sum(not any(text.causes for text in entry.texts) for entry in entries),
        "without an action": sum(not any(text.actions for text in entry.texts) for entry in entries),
        "without a severity": sum(entry.severity is None for entry in entries),
        "codes of several entries": sum(count > 1 for count in codes.values()),
    }


def plain(entry: Entry) -> dict[str, Any]:
    """The entry as the importers read it, without what is empty."""
    fields = msgspec.to_builtins(entry).items()
    # An import works the variant out from what stands beside the entry.
    return {name: value for name, value in fields if value and name != "variant"}


def _scope(entries: list[Entry]) -> str:
    names = sorted({" ".join(part for part in (one.vendor, one.model) if part) for one in entries})
    shown = ", ".join(name for name in names[:3] if name)
    return f"{shown} ..." if len(names) > 3 else shown
