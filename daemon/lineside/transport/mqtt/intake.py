"""A message off the broker to the inbox. Knows nothing of connections, nor of what a report says."""

from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec
from paho.mqtt.client import MQTTMessage

from lineside.diagnosis.report import MAX_REPORT_BYTES
from lineside.errors import RejectedError
from lineside.gateways.decode import to_text
from lineside.gateways.gateways import Gateways
from lineside.gateways.own import Mapped
from lineside.ports import Acknowledge, Admin, Inbox, IncomingReport, Wanted
from lineside.transport.mqtt.topics import (
    MAX_DEVICE_CHARACTERS,
    decode_device,
    default_reply,
    device_levels,
    diagnosis_topic,
    is_feedback,
    is_ours,
    may_reply_to,
)

logger = logging.getLogger("lineside.transport.mqtt")

MAX_ID_CHARACTERS = 128
# Topics that are warned about.
MAX_NAMED = 256
# Properties that only a publisher can have set: their presence tells that it speaks MQTT 5.
PUBLISHER_PROPERTIES = (
    "ResponseTopic",
    "CorrelationData",
    "MessageExpiryInterval",
    "ContentType",
    "UserProperty",
    "PayloadFormatIndicator",
)


class AllStored:
    """Implements ports.Acknowledge, for each of a message's reports: the last acknowledges the message."""

    def __init__(self, reports: int, acknowledge: Acknowledge) -> None:
        self._left = reports
        self._acknowledge = acknowledge
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """One more is stored."""
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._acknowledge()

    def void(self) -> bool:
        """See ports.Acknowledge."""
        return self._acknowledge.void()


class Envelope(msgspec.Struct):
    """What the transport itself reads of a report. Anything else in it, and its types, are the inbox's."""

    reply_to: Any = ""
    request_id: Any = ""
    id: Any = ""


_decoder = msgspec.json.Decoder(Envelope)


class Intake:
    """Hands reports to the inbox, from the thread that they came in on."""

    def __init__(  # noqa: PLR0913 as many as are configured
        self,
        inbox: Inbox,
        admin: Admin,
        reply_filters: tuple[str, ...],
        gateways: Gateways | None = None,
        wanted: tuple[Wanted, ...] = (),
        *,
        retained: bool = False,
    ) -> None:
        self._inbox = inbox
        self._admin = admin
        self._reply_filters = reply_filters
        self._gateways = gateways or Gateways()
        self._wanted = wanted
        self._retained = retained
        self._unsafe: set[str] = set()

    def take(self, message: MQTTMessage, acknowledge: Acknowledge) -> None:
        """One message. It is acknowledged once it is stored, or at once where there is nothing to store."""
        levels = device_levels(message.topic)
        self._warn_unsafe(message)
        if message.retain and not self._retained:
            # Somebody's last words of any age: a fault is what happens now.
            self._drop(message, acknowledge, "mqtt_retained_ignored")
        elif not is_ours(message.topic):
            self._take_mapped(message, acknowledge)
        elif len(levels) > MAX_DEVICE_CHARACTERS:
            self._drop(message, acknowledge, "mqtt_bad_topics")
        else:
            incoming = self._read(message, levels)
            self._admin.count("mqtt_feedback" if incoming.verb == "feedback" else "mqtt_reports")
            self._inbox.accept(incoming, acknowledge)

    def reply_topic(self, wish: str, default: str) -> str:
        """Where an answer goes: as wished, where answers may go there."""
        if wish == default:
            return default
        if wish and may_reply_to(wish, self._reply_filters, self._gateways.filters):
            return wish
        if wish:
            self._admin.count("mqtt_reply_topics_refused")
            hint = "add a filter to [mqtt] reply_topics if answers may go there"
            logger.warning("refused a reply topic", extra={"topic": wish[:256], "hint": hint})
        return default

    def _take_mapped(self, message: MQTTMessage, acknowledge: Acknowledge) -> None:
        """A gateway's message: as many reports as it holds, acknowledged once all of them are stored."""
        reports = self._gateways.read(message.topic, bytes(message.payload))
        if reports is None:
            # The broker's session outlives a mapping that has been taken away.
            self._drop(message, acknowledge, "mqtt_bad_topics")
        elif not reports:
            self._admin.count("mqtt_ignored")
            acknowledge()
        else:
            stored = AllStored(len(reports), acknowledge)
            for report in reports:
                self._admin.count("mqtt_reports")
                self._inbox.accept(self._mapped(message, report), stored)

    def _warn_unsafe(self, message: MQTTMessage) -> None:
        """At QoS 0 nobody sends again what is lost on its way. Each topic is named once."""
        if message.qos:
            return
        self._admin.count("mqtt_qos0")
        if message.topic in self._unsafe or len(self._unsafe) >= MAX_NAMED:
            return
        self._unsafe.add(message.topic)
        hint = "publish at QoS 1: at QoS 0 a report may be lost before it is stored, and nobody hears of it"
        logger.warning("a message came at QoS 0", extra={"topic": message.topic[:256], "hint": hint})

    def _drop(self, message: MQTTMessage, acknowledge: Acknowledge, counter: str) -> None:
        self._admin.count(counter)
        logger.warning("ignored a message", extra={"topic": message.topic[:256], "counter": counter})
        acknowledge()

    def _read(self, message: MQTTMessage, levels: str) -> IncomingReport:
        payload = bytes(message.payload)
        envelope = read_envelope(payload)
        wish = getattr(message.properties, "ResponseTopic", "") or text(envelope.reply_to, MAX_REPORT_BYTES)
        request_id = text(envelope.request_id, MAX_ID_CHARACTERS) or text(envelope.id, MAX_ID_CHARACTERS)
        report = Mapped(decode_device(levels), payload, request_id)
        return self._incoming(message, report, self.reply_topic(wish, default_reply(message.topic)))

    def _incoming(self, message: MQTTMessage, report: Mapped, reply_topic: str) -> IncomingReport:
        properties = message.properties
        expiry_s: int | None = getattr(properties, "MessageExpiryInterval", None)
        return IncomingReport(
            device=report.device,
            request_id=report.request_id,
            payload=report.payload,
            reply_topic=reply_topic,
            correlation=getattr(properties, "CorrelationData", b""),
            mqtt5=any(hasattr(properties, name) for name in PUBLISHER_PROPERTIES),
            remaining_ms=None if expiry_s is None else expiry_s * 1000,
            verb="feedback" if is_feedback(message.topic) else "fault",
            refusal=report.refusal,
            wanted=self._wanted if report.forms is None else report.forms,
            redelivered=message.dup,
        )

    def _mapped(self, message: MQTTMessage, report: Mapped) -> IncomingReport:
        wish = getattr(message.properties, "ResponseTopic", "") or report.reply_to
        own = {diagnosis_topic(name) for name in report.gateways}
        default = wish if wish in own else diagnosis_topic(report.device)
        reply_topic = self.reply_topic(wish, default)
        return self._incoming(message, report, reply_topic)


def read_envelope(payload: bytes) -> Envelope:
    """What can be read; nothing where the payload is no report at all, which the inbox then answers."""
    if len(payload) > MAX_REPORT_BYTES:
        return Envelope()
    try:
        return _decoder.decode(to_text(payload))
    except (msgspec.DecodeError, RejectedError, RecursionError):
        return Envelope()


def text(value: Any, most: int) -> str:
    """`value` where it is text of a sensible length."""
    return value if isinstance(value, str) and len(value) <= most else ""
