"""Topic filters: which topics they stand for. Knows nothing of who subscribes to them."""

from __future__ import annotations

from itertools import zip_longest


def is_filter(text: str) -> bool:
    """Whether a broker would take it."""
    levels = text.split("/")
    hash_inside = any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#")
    plus_beside = any("+" in level and level != "+" for level in levels)
    return bool(text) and not hash_inside and not plus_beside and "\0" not in text


def match(topic_filter: str, topic: str) -> tuple[str, ...] | None:
    """The topic's levels that the filter's wildcards stand for; None where it does not fit."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return None
    levels, wanted = topic.split("/"), topic_filter.split("/")
    found: list[str] = []
    for index, level in enumerate(wanted):
        if level == "#":
            return (*found, *levels[index:])
        if index >= len(levels) or level not in ("+", levels[index]):
            return None
        if level == "+":
            found.append(levels[index])
    return tuple(found) if len(levels) == len(wanted) else None


def overlap(one: str, other: str) -> bool:
    """Whether some topic fits both."""
    for mine, yours in zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, yours):
            return True
        if mine is None or yours is None or (mine != yours and "+" not in (mine, yours)):
            return False
    return True
