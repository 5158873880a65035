"""Reports in the daemon's own schema, as controllers send them: padded, without what the topic says already.

Knows nothing of topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import msgspec

from lineside.diagnosis.report import MAX_DEVICE_ID, MAX_REPORT_BYTES
from lineside.errors import RejectedError
from lineside.gateways.decode import plain, to_document, to_text
from lineside.gateways.times import rfc3339
from lineside.ports import Wanted

MAX_ID_CHARACTERS = 128
MAX_NESTING = 8
CODES = ("code", "word")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A report as it came out of a message, for `device`; `refusal`: why it is none.

    `forms`: how else its answer is published; None: as the configuration says.
    `gateways`: who may have sent it, and may have the answer sent to a topic of its own.
    """

    device: str
    payload: bytes
    request_id: str = ""
    reply_to: str = ""
    refusal: RejectedError | None = None
    forms: tuple[Wanted, ...] | None = None
    gateways: tuple[str, ...] = ()


def own_report(payload: bytes, named: str, zone: tzinfo | None) -> Mapped:
    """The report of `payload`, whose topic names the device `named`. What is wrong is its parser's to say."""
    if len(payload) > MAX_REPORT_BYTES:
        return Mapped(named[:MAX_DEVICE_ID], payload)
    try:
        document = to_document(to_text(payload))
    except RejectedError as refusal:
        return Mapped(named, payload, refusal=refusal)
    if not isinstance(document, dict):
        return Mapped(named, payload)
    try:
        return _completed(document, named, zone)
    except RejectedError as refusal:
        return Mapped(named, payload, refusal=refusal)
    except (msgspec.MsgspecError, OverflowError, RecursionError):
        return Mapped(named, payload)


def _completed(document: dict[str, Any], named: str, zone: tzinfo | None) -> Mapped:
    document = _without_padding(document, 0)
    device, alarm = document.setdefault("dev", {}), document.get("alarm")
    said = named
    if isinstance(device, dict):
        said = device.setdefault("id", named)
    if isinstance(alarm, dict):
        for key in CODES:
            if isinstance(alarm.get(key), int) and not isinstance(alarm[key], bool):
                alarm[key] = str(alarm[key])
        _in_zone(alarm, "since", zone)
    _in_zone(document, "ts", zone)
    whose = said if not named and isinstance(said, str) else named
    return Mapped(
        whose[:MAX_DEVICE_ID],
        msgspec.json.encode(document),
        *asked(document),
    )


def asked(document: dict[str, Any]) -> tuple[str, str]:
    """The id that its sender knows a report by, and where the answer is to go; empty where it says none."""
    request_id = _text(document, "request_id", MAX_ID_CHARACTERS) or _text(document, "id", MAX_ID_CHARACTERS)
    return request_id, _text(document, "reply_to", MAX_REPORT_BYTES)


def _without_padding(value: Any, depth: int) -> Any:
    """Each text up to its first NUL."""
    if isinstance(value, str):
        return plain(value) if "\0" in value else value
    if depth < MAX_NESTING and isinstance(value, dict):
        return {key: _without_padding(one, depth + 1) for key, one in value.items()}
    if depth < MAX_NESTING and isinstance(value, list):
        return [_without_padding(one, depth + 1) for one in value]
    return value


def _in_zone(where: dict[str, Any], key: str, zone: tzinfo | None) -> None:
    """A time without a zone is the plant's. Times are shown, never trusted: others stay as they are."""
    value = where.get(key)
    if value in (None, ""):
        return
    try:
        where[key] = rfc3339(value, zone)
    except ValueError:
        return


def _text(document: dict[str, Any], key: str, most: int) -> str:
    value = document.get(key)
    return value if isinstance(value, str) and len(value) <= most else ""
