"""Where one field of a report comes from, as a mapping says it. Knows nothing of files and whole reports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from lineside.gateways.decode import plain
from lineside.gateways.pointer import MISSING, Pointer, parse_pointer, resolve

ANY = "*"
_LEVEL = re.compile(r"\{(\d{1,3})(\.\.)?\}")


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source as a mapping's file has it; one of `at`, `top`, `const` and `topic` says where."""

    at: str | None = None
    top: str | None = None
    const: str | int | float | None = None
    topic: str | None = None
    map: dict[str, str | int | float] | None = None
    prefix: Annotated[str, msgspec.Meta(max_length=32)] = ""
    digits: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    format: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What sources look into: one alarm, the message that it came in, and that message's topic."""

    alarm: Any
    message: Any
    topic: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has been checked. `whole`: the pointer is into the message, not the alarm."""

    written: Written
    pointer: Pointer | None
    whole: bool

    def find(self, place: Place) -> Any:
        """What stands there, read through `map`; MISSING for nothing. Raises ValueError."""
        written = self.written
        if self.pointer is None:
            return written.const if written.topic is None else from_topic(written.topic, place.topic)
        value = resolve(place.message if self.whole else place.alarm, self.pointer)
        if isinstance(value, str):
            value = plain(value)
        if written.map is None or value is MISSING:
            return MISSING if value is None else value
        key = shown(value)
        found = written.map.get(key, written.map.get(ANY, MISSING))
        if found is MISSING:
            raise ValueError(f"is {key[:60]!r}, which `map` has no entry for")
        return found

    @property
    def described(self) -> str:
        """Where it looks, for people."""
        return f"`{self.written.top if self.whole else self.written.at}`"


def checked(written: str | int | float | Written) -> Source:
    """A source as written: a pointer, a number that is itself, or a table. Raises ValueError."""
    if isinstance(written, str):
        if not written.startswith("/") and written:
            quoted = f"{{ const = {written!r} }}"
            raise ValueError(
                f"{written!r} is no JSON pointer, which begins with a slash; a constant is {quoted}"
            )
        written = Written(at=written)
    elif not isinstance(written, Written):
        written = Written(const=written)
    given = [name for name in ("at", "top", "const", "topic") if getattr(written, name) is not None]
    if len(given) != 1:
        raise ValueError("one of `at`, `top`, `const` and `topic` is needed, and only one")
    if written.topic is not None:
        check_template(written.topic)
    path = written.at if written.top is None else written.top
    pointer = None if path is None else parse_pointer(path)
    if pointer is None and written.map is not None:
        raise ValueError("`map` goes with `at` or `top`")
    return Source(written, pointer, written.top is not None)


def check_template(template: str, topic_filter: str = "#") -> None:
    """Raises ValueError for one that names no level of the topics that fit the filter."""
    bare = _LEVEL.sub("", template)
    if bare == template or "{" in bare or "}" in bare or "{0" in template:
        example = "{2} for the second level, {3..} for all from the third"
        raise ValueError(f"{template!r} names no level of the topic; write {example}")
    levels = topic_filter.split("/")
    if levels[-1] != "#" and max(int(number) for number, _ in _LEVEL.findall(template)) > len(levels):
        raise ValueError(f"{template!r} names a level that no topic of {topic_filter!r} has")


def from_topic(template: str, levels: tuple[str, ...]) -> Any:
    """The template with the topic's levels put in; MISSING where the topic is too short for it."""
    found = [int(number) for number, _ in _LEVEL.findall(template)]
    if max(found) > len(levels):
        return MISSING
    return _LEVEL.sub(
        lambda one: "/".join(levels[int(one[1]) - 1 :]) if one[2] else levels[int(one[1]) - 1], template
    )


def shown(value: Any) -> str:
    """A value as the keys of `map` write it: true, 17, null, or a text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
