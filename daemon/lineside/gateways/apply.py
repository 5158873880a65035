"""A message through a mapping: the reports that come out of it. Knows nothing of brokers and of journals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import msgspec

from lineside.diagnosis.report import MAX_DEVICE_ID
from lineside.errors import Reason, RejectedError
from lineside.gateways.decode import to_document, to_text
from lineside.gateways.mapping import EachReading, Field, Mapping
from lineside.gateways.own import Mapped, asked, own_report
from lineside.gateways.pointer import MISSING, resolve
from lineside.gateways.source import Place, from_topic, shown
from lineside.gateways.values import number_of, value_of

MAX_MESSAGE_BYTES = 262_144
MAX_ALARMS = 64
MAX_BITS = 64
MAX_READINGS = 64


@dataclass(frozen=True, slots=True)
class Topic:
    """A message's topic: its levels, and which device it names, if it does."""

    levels: tuple[str, ...]
    device: str


def apply(mapping: Mapping, topic: Topic, payload: bytes, zone: tzinfo | None) -> list[Mapped]:
    """What a message says, report by report; where it does not fit, with the refusal. Never raises."""
    try:
        message = _message(mapping, payload)
        alarms = _alarms(mapping, message)
        places = [Place(alarm, message, topic.levels) for alarm in alarms]
        return [
            _report(mapping, topic.device, place, zone) for place in places if not _ignored(mapping, place)
        ]
    except RejectedError as refusal:
        return [Mapped(topic.device[:MAX_DEVICE_ID], payload, refusal=refusal)]
    except RecursionError:  # what could just be read cannot just so be written
        deep = RejectedError(Reason.INVALID, "the payload is nested too deeply")
        return [Mapped(topic.device[:MAX_DEVICE_ID], payload, refusal=deep)]


def _message(mapping: Mapping, payload: bytes) -> Any:
    """The document, or the text or its parts."""
    if len(payload) > MAX_MESSAGE_BYTES:
        message = f"the message has {len(payload)} bytes, at most {MAX_MESSAGE_BYTES} are taken"
        raise RejectedError(Reason.TOO_LONG, message)
    text = to_text(payload)
    if mapping.format != "text":
        return to_document(text)
    text = text.partition("\0")[0].strip()
    return [part.strip() for part in text.split(mapping.separator)] if mapping.separator else text


def _alarms(mapping: Mapping, message: Any) -> list[Any]:
    if mapping.each_bit is not None:
        return _bits(resolve(message, mapping.each_bit))
    if mapping.each is None:
        return [message]
    found = resolve(message, mapping.each)
    if not isinstance(found, list):
        raise RejectedError(Reason.INVALID, "`each` leads to no array in this payload", field="each")
    if len(found) > MAX_ALARMS:
        many = f"the message has {len(found)} alarms, at most {MAX_ALARMS} are taken"
        raise RejectedError(Reason.TOO_LONG, many, field="each")
    return found


def _bits(word: Any) -> list[Any]:
    """The numbers of the bits that are set, the lowest first; none where the word could not be read."""
    if word is MISSING or word is None:
        return []
    if not isinstance(word, int) or isinstance(word, bool) or not 0 <= word < 1 << MAX_BITS:
        wanted = f"a whole number from 0 to {MAX_BITS} bits: have the gateway read the word as unsigned"
        raise RejectedError(
            Reason.INVALID, f"`each_bit` leads to {shown(word)[:60]}, not to {wanted}", field="each_bit"
        )
    return [bit for bit in range(MAX_BITS) if word >> bit & 1]


def _ignored(mapping: Mapping, place: Place) -> bool:
    for source, ignored in mapping.ignore:
        value = source.find(place)
        if value is MISSING:
            if ignored.missing:
                return True
        elif shown(value) in map(shown, ignored.equals):
            return True
    return False


def _report(mapping: Mapping, named: str, place: Place, zone: tzinfo | None) -> Mapped:
    raw = msgspec.json.encode(place.alarm)
    if mapping.format == "report":
        return own_report(raw, named, zone)
    document: dict[str, Any] = {"dev": {}, "alarm": {}}
    device = named
    try:
        for field in mapping.fields:
            _put(document, field, place, zone)
        device = _device(mapping, document, named)
        if values := list(_readings(mapping, place))[:MAX_READINGS]:
            document["values"] = values
        payload = msgspec.json.encode(document)
    except RejectedError as refusal:
        return Mapped(device[:MAX_DEVICE_ID], raw, *asked(document), refusal=refusal)
    return Mapped(device, payload, *asked(document))


def _device(mapping: Mapping, document: dict[str, Any], named: str) -> str:
    """Which device it is of: as the payload says, and as the topic does where the mapping says how."""
    said = document["dev"].setdefault("id", named)
    if mapping.device and said != named:
        message = f"dev.id is {said[:60]!r}, but the topic names device {named[:60]!r}"
        raise RejectedError(Reason.INVALID, message, field="dev.id")
    if not 0 < len(said) <= MAX_DEVICE_ID:
        message = f"the device's id has {len(said)} characters, 1 to {MAX_DEVICE_ID} are taken"
        raise RejectedError(Reason.INVALID, message, field="dev.id")
    return str(said)


def _put(document: dict[str, Any], field: Field, place: Place, zone: tzinfo | None) -> None:
    """One field of the report. Raises RejectedError(INVALID) that names it."""
    part, _, key = field.name.rpartition(".")
    where = document[part] if part else document
    try:
        value = field.source.find(place)
        if value is not MISSING and value != "":
            where[key] = value_of(field.name, field.source.written, value, zone)
    except ValueError as error:
        problem = str(error)
    else:
        problem = f"is missing: nothing is at {field.source.described}" if value is MISSING else ""
    if problem and not field.source.written.optional:
        raise RejectedError(Reason.INVALID, f"{field.name} {problem}", field=field.name)


def _readings(mapping: Mapping, place: Place) -> Iterator[dict[str, Any]]:
    """Readings that are there: one that could not be taken is none."""
    for reading in mapping.readings:
        if (number := number_of(reading.source.find(place))) is not None:
            yield {"n": reading.name, "v": number, **reading.beside}
    if mapping.all_readings is not None:
        yield from _every_reading(mapping.all_readings, place)


def _every_reading(wanted: EachReading, place: Place) -> Iterator[dict[str, Any]]:
    found = wanted.source.find(place)
    if isinstance(found, list):
        pairs = [(resolve(one, wanted.name), resolve(one, wanted.number)) for one in found]
    else:
        pairs = list(found.items()) if isinstance(found, dict) else []
    for name, value in pairs:
        number = number_of(value)
        if isinstance(name, str) and 0 < len(name) <= MAX_DEVICE_ID and number is not None:
            yield {"n": name, "v": number}


def topic_of(mapping: Mapping, topic: str, wild: tuple[str, ...]) -> Topic:
    """The topic's levels, and the device that they name: by the template, or those that are wild."""
    levels = tuple(topic.split("/"))
    if not mapping.device:
        return Topic(levels, "/".join(wild))
    found = from_topic(mapping.device, levels)
    return Topic(levels, "" if found is MISSING else str(found))
