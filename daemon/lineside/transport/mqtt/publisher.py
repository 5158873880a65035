"""Answers to the broker. Knows nothing of how they were found or where they are kept."""

from __future__ import annotations

import logging
import math

import anyio
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.closing import Closing
from lineside.ports import Admin, Inbox, OutgoingAnswer
from lineside.transport.mqtt.connection import Connection
from lineside.transport.mqtt.refusals import Refusals
from lineside.transport.mqtt.session import explain, json_properties

logger = logging.getLogger("lineside.transport.mqtt")

# Room for a packet's header and properties beside topic, payload and correlation.
HEADER_BYTES = 64
MAX_EXPIRY_S = 0xFFFF_FFFF
RETAINED = ("alarm", "cleared")
# Of the message itself: it is tried again over the next connection only.
NEVER_TAKEN = (0x90, 0x99)


class Publisher:
    """Publishes the inbox's answers over one connection after another."""

    def __init__(self, inbox: Inbox, admin: Admin) -> None:
        self._inbox = inbox
        self._admin = admin

    async def run(self, connection: Connection) -> None:
        """Publish until cancelled. What the broker did not answer by then comes again with the next call."""
        await connection.ready.wait()
        window = anyio.Semaphore(connection.window)
        async with Refusals(self._inbox.again) as refusals, Closing(self._inbox.answers()) as answers:
            async for answer in answers:
                if refusals.hold(answer.topic, answer.row):
                    self._inbox.refused(answer.row)
                    continue
                await window.acquire()
                if not self._publish(connection, answer, window, refusals):
                    window.release()

    def _publish(
        self, connection: Connection, answer: OutgoingAnswer, window: anyio.Semaphore, refusals: Refusals
    ) -> bool:
        """Whether the broker is going to answer."""
        if answer.remaining_ms is not None and answer.remaining_ms <= 0:
            self._admin.count("mqtt_answers_expired")
            self._inbox.published(answer.row)  # nobody waits for it: there is nothing left to publish
            return False
        size = HEADER_BYTES + len(answer.topic.encode()) + len(answer.payload) + len(answer.correlation)
        if 0 < connection.max_packet_bytes < size:
            self._failed(answer, f"{size} bytes, the broker takes {connection.max_packet_bytes}")
            return False

        def on_taken(reason: ReasonCode) -> None:
            window.release()
            self._taken(answer, reason, refusals)

        try:
            retain = answer.form in RETAINED
            connection.publish(answer.topic, answer.payload, answer_properties(answer), on_taken, retain)
        except ValueError as error:
            self._failed(answer, str(error))
            return False
        return True

    def _taken(self, answer: OutgoingAnswer, reason: ReasonCode, refusals: Refusals) -> None:
        if reason.is_failure:
            if reason.value not in NEVER_TAKEN:
                refusals.refused(answer.topic, answer.row)
            self._failed(answer, explain(reason))
            return
        refusals.taken(answer.topic)
        self._admin.count("mqtt_answers_published")
        self._inbox.published(answer.row)

    def _failed(self, answer: OutgoingAnswer, why: str) -> None:
        """It stays unpublished, and is tried again at the next connection at the latest."""
        self._inbox.refused(answer.row)
        self._admin.count("mqtt_answers_refused")
        logger.error("an answer cannot be published: %s", why, extra={"topic": answer.topic[:256]})


def answer_properties(answer: OutgoingAnswer) -> Properties:
    """Correlation, type and what is left of the expiry."""
    properties = json_properties(PacketTypes.PUBLISH)
    if answer.form == "text":
        properties.ContentType = "text/plain; charset=utf-8"
    if answer.correlation:
        properties.CorrelationData = answer.correlation
    if answer.remaining_ms is not None:
        properties.MessageExpiryInterval = min(MAX_EXPIRY_S, math.ceil(answer.remaining_ms / 1000))
    return properties
