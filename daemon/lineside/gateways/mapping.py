"""A gateway's mapping, read from its file and checked whole. Knows nothing of messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from lineside.errors import LinesideError
from lineside.gateways.filters import is_filter, overlap
from lineside.gateways.pointer import Pointer, parse_pointer
from lineside.gateways.source import Source, Written, check_template, checked
from lineside.gateways.values import check_options
from lineside.gateways.written import (
    AlarmSources,
    AllReadings,
    DeviceSources,
    Format,
    Ignored,
    MappingFile,
    Reading,
    WrittenMapping,
)
from lineside.ports import Wanted
from lineside.security.names import check_client_name
from lineside.toml_file import TomlError, read_toml

# Where the daemon itself listens and speaks.
OWN = "lineside/#"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the report, such as alarm.code, and where it comes from."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class NamedReading:
    """A reading's name, where its number is, and what stands beside it."""

    name: str
    source: Source
    beside: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EachReading:
    """Where many readings are; `name` and `number` lead into each where they are an array's."""

    source: Source
    name: Pointer
    number: Pointer


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping that has been checked. `device` empty: the levels that the filter's wildcards stand for.

    `gateways`: names of the certificates that may publish on its topics over the LAN.
    """

    topic: str
    format: Format
    separator: str
    device: str
    each: Pointer | None
    each_bit: Pointer | None
    ignore: tuple[tuple[Source, Ignored], ...]
    fields: tuple[Field, ...]
    readings: tuple[NamedReading, ...]
    all_readings: EachReading | None
    forms: tuple[Wanted, ...] | None
    gateways: tuple[str, ...]

    @property
    def names_device(self) -> bool:
        """Whether the payload itself says which device it is of."""
        return any(field.name == "dev.id" for field in self.fields)


def load_mappings(paths: Iterable[str | Path]) -> tuple[Mapping, ...]:
    """Every mapping of these files. Raises LinesideError that names file, mapping and key."""
    mappings: list[Mapping] = []
    for path in map(Path, paths):
        for mapping in read_mappings(path):
            for other in mappings:
                if overlap(mapping.topic, other.topic):
                    raise _error(
                        path, f"topic {mapping.topic!r} overlaps {other.topic!r}", "narrow one of them"
                    )
            mappings.append(mapping)
    return tuple(mappings)


def read_mappings(path: Path) -> Iterator[Mapping]:
    """The mappings of one file."""
    try:
        written = msgspec.convert(read_toml(path), MappingFile)
    except OSError as error:
        raise _error(path, str(error.strerror), "name an existing file in [mqtt] mappings") from error
    except TomlError as error:
        raise _error(path, str(error), "correct the file's syntax") from error
    except msgspec.ValidationError as error:
        raise _error(path, str(error), "docs/gateways.md lists every key of a mapping") from error
    for number, one in enumerate(written.mapping, 1):
        yield _read_mapping(path, number, one)


def _read_mapping(path: Path, number: int, written: WrittenMapping) -> Mapping:
    try:
        return _checked(written)
    except ValueError as error:
        hint = "docs/gateways.md shows mappings; `lineside mapping try` shows what comes out of one"
        raise _error(path, f"mapping {number} ({written.topic}): {error}", hint) from error


def _checked(written: WrittenMapping) -> Mapping:
    """Raises ValueError that begins with the key."""
    if not is_filter(written.topic) or written.topic.startswith("$"):
        raise ValueError(f"topic: {written.topic!r} is no topic filter")
    if overlap(written.topic, OWN):
        raise ValueError("topic: what begins with lineside/ is the daemon's own")
    fields = tuple(sorted(_fields(written.report), key=_order))
    if written.format == "report" and (fields or written.values or written.all_values):
        raise ValueError("report: with format = 'report' the payload is the report, nothing is mapped")
    if written.format != "report" and not any(field.name.startswith("alarm.") for field in fields):
        raise ValueError("report.alarm: alarm.code or alarm.text is needed")
    if written.each is not None and written.each_bit is not None:
        raise ValueError("each_bit: only one of `each` and `each_bit` can be")
    if written.separator and written.format != "text":
        raise ValueError("separator: it goes with format = 'text'")
    mapping = Mapping(
        topic=written.topic,
        format=written.format,
        separator=written.separator,
        device=written.device,
        each=_pointer("each", written.each),
        each_bit=_pointer("each_bit", written.each_bit),
        ignore=tuple(map(_ignore, written.ignore)),
        fields=fields,
        readings=tuple(_reading(name, one) for name, one in written.values.items()),
        all_readings=None if written.all_values is None else _all(written.all_values),
        forms=written.forms,
        gateways=written.gateways,
    )
    _check_device(mapping)
    _check_gateways(mapping)
    return mapping


def _order(field: Field) -> int:
    """First what an answer needs to find its way back, then what says most where it does not fit."""
    return 0 if field.name in ("id", "request_id", "reply_to") else 1 if "." in field.name else 2


def _ignore(given: Ignored) -> tuple[Source, Ignored]:
    if not given.equals and not given.missing:
        raise ValueError("ignore: `equals` or `missing` is needed")
    return _place("ignore", given), given


def _check_device(mapping: Mapping) -> None:
    templates = [("device", mapping.device)] if mapping.device else []
    templates += [
        (f"report.{f.name}", f.source.written.topic) for f in mapping.fields if f.source.written.topic
    ]
    for name, template in templates:
        _named(name, partial(check_template, topic_filter=mapping.topic), template)
    wild = any(level in ("+", "#") for level in mapping.topic.split("/"))
    if not (wild or mapping.device or mapping.names_device or mapping.format == "report"):
        raise ValueError("device: neither the topic nor report.dev.id names the device; give one of them")


def _check_gateways(mapping: Mapping) -> None:
    try:
        for name in mapping.gateways:
            check_client_name(name)
    except LinesideError as error:
        raise ValueError(f"gateways: {error.message}: {error.hint}") from error
    # The broker's access list has one topic a line, and takes what is around it off.
    if mapping.gateways and (mapping.topic.strip() != mapping.topic or not mapping.topic.isprintable()):
        raise ValueError(f"gateways: {mapping.topic!r} cannot stand in an access list: use another topic")


def _fields(report: Any, prefix: str = "") -> Iterator[Field]:
    for name in report.__struct_fields__:
        given = getattr(report, name)
        if isinstance(given, (DeviceSources, AlarmSources)):
            yield from _fields(given, f"{name}.")
        elif given is not None:
            yield _field(prefix + name, given)


def _field(name: str, given: Any) -> Field:
    source: Source = _named(f"report.{name}", checked, given)
    _named(f"report.{name}", partial(check_options, name), source.written)
    return Field(name, source)


def _reading(name: str, given: str | Reading) -> NamedReading:
    reading = Reading(at=given) if isinstance(given, str) else given
    beside = {"u": reading.u, "hi": reading.hi, "lo": reading.lo}
    known = {key: value for key, value in beside.items() if value not in ("", None)}
    return NamedReading(name, _place(f"values.{name}", reading), known)


def _all(given: AllReadings) -> EachReading:
    name, number = _pointer("all_values.n", given.n), _pointer("all_values.v", given.v)
    assert name is not None
    assert number is not None
    return EachReading(_place("all_values", given), name, number)


def _place(key: str, given: Reading | AllReadings | Ignored) -> Source:
    source: Source = _named(key, checked, Written(at=given.at, top=given.top))
    return source


def _pointer(key: str, text: str | None) -> Pointer | None:
    return None if text is None else _named(key, parse_pointer, text)


def _named(key: str, check: Any, given: Any) -> Any:
    """`check(given)`, its complaint with the key's name."""
    try:
        return check(given)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _error(path: Path, message: str, hint: str) -> LinesideError:
    return LinesideError("read mapping", f"{path}: {message}", hint)
