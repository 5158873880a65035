"""A message off the broker to the inbox. Knows nothing of connections, nor of what a report says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from paho.mqtt.client import MQTTMessage

from lineside.diagnosis.report import MAX_REPORT_BYTES
from lineside.ports import Admin, Inbox, IncomingReport
from lineside.transport.mqtt.topics import (
    MAX_DEVICE_CHARACTERS,
    decode_device,
    default_reply,
    device_levels,
    is_feedback,
    may_reply_to,
)

logger = logging.getLogger("lineside.transport.mqtt")

MAX_ID_CHARACTERS = 128
# Properties that only a publisher can have set: their presence tells that it speaks MQTT 5.
PUBLISHER_PROPERTIES = (
    "ResponseTopic",
    "CorrelationData",
    "MessageExpiryInterval",
    "ContentType",
    "UserProperty",
    "PayloadFormatIndicator",
)


class Envelope(msgspec.Struct):
    """What the transport itself reads of a report. Anything else in it, and its types, are the inbox's."""

    reply_to: Any = ""
    request_id: Any = ""
    id: Any = ""


_decoder = msgspec.json.Decoder(Envelope)


class Intake:
    """Hands reports to the inbox, from the thread that they came in on."""

    def __init__(self, inbox: Inbox, admin: Admin, reply_filters: tuple[str, ...]) -> None:
        self._inbox = inbox
        self._admin = admin
        self._reply_filters = reply_filters

    def take(self, message: MQTTMessage, acknowledge: Callable[[], None]) -> None:
        """One message. It is acknowledged once it is stored, or at once where there is nothing to store."""
        levels = device_levels(message.topic)
        if message.retain:
            # Somebody's last words of any age: a fault is what happens now.
            self._drop(message, acknowledge, "mqtt_retained_ignored")
        elif len(levels) > MAX_DEVICE_CHARACTERS:
            self._drop(message, acknowledge, "mqtt_bad_topics")
        else:
            incoming = self._read(message, levels)
            self._admin.count("mqtt_feedback" if incoming.verb == "feedback" else "mqtt_reports")
            self._inbox.accept(incoming, acknowledge)

    def _drop(self, message: MQTTMessage, acknowledge: Callable[[], None], counter: str) -> None:
        self._admin.count(counter)
        logger.warning("ignored a message", extra={"topic": message.topic[:256], "counter": counter})
        acknowledge()

    def _read(self, message: MQTTMessage, levels: str) -> IncomingReport:
        properties = message.properties
        payload = bytes(message.payload)
        envelope = read_envelope(payload)
        expiry_s: int | None = getattr(properties, "MessageExpiryInterval", None)
        wish = getattr(properties, "ResponseTopic", "") or text(envelope.reply_to, MAX_REPORT_BYTES)
        return IncomingReport(
            device=decode_device(levels),
            request_id=text(envelope.request_id, MAX_ID_CHARACTERS) or text(envelope.id, MAX_ID_CHARACTERS),
            payload=payload,
            reply_topic=self._reply_topic(wish, message.topic),
            correlation=getattr(properties, "CorrelationData", b""),
            mqtt5=any(hasattr(properties, name) for name in PUBLISHER_PROPERTIES),
            remaining_ms=None if expiry_s is None else expiry_s * 1000,
            verb="feedback" if is_feedback(message.topic) else "fault",
        )

    def _reply_topic(self, wish: str, asked_on: str) -> str:
        if wish and may_reply_to(wish, self._reply_filters):
            return wish
        if wish:
            self._admin.count("mqtt_reply_topics_refused")
            hint = "add a filter to [mqtt] reply_topics if answers may go there"
            logger.warning("refused a reply topic", extra={"topic": wish[:256], "hint": hint})
        return default_reply(asked_on)


def read_envelope(payload: bytes) -> Envelope:
    """What can be read; nothing where the payload is no report at all, which the inbox then answers."""
    if len(payload) > MAX_REPORT_BYTES:
        return Envelope()
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Envelope()


def text(value: Any, most: int) -> str:
    """`value` where it is text of a sensible length."""
    return value if isinstance(value, str) and len(value) <= most else ""
