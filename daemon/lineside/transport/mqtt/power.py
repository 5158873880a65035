"""Operators' settings of power off the broker, receipts to it, and what holds retained beside them.

Knows not whether the broker has an access list: it believes the configuration that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from lineside.errors import REASONS, Reason, RejectedError
from lineside.ports import Acknowledge, Admin, Auditor, AuditRecord, PowerSetter
from lineside.power.settings import Wish
from lineside.security.roles import operator_by_access_list
from lineside.transport.mqtt.connection import Connection
from lineside.transport.mqtt.session import explain, json_properties
from lineside.transport.mqtt.topics import power_receipt_topic, power_set_topic, power_topic

logger = logging.getLogger("lineside.transport.mqtt")

MAX_SETTING_BYTES = 1024
MAX_ID_CHARACTERS = 128
# How soon a change by another way, such as the schedule, is told.
STATE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Receipt:
    topic: str
    document: bytes
    correlation: bytes
    acknowledge: Acknowledge


class PowerTopic:
    """One daemon's. `take` runs on paho's thread, the rest on the event loop."""

    def __init__(
        self,
        client_id: str,
        power: PowerSetter,
        admin: Admin,
        reply_topic: Callable[[str, str], str],
        audit: Auditor | None = None,
    ) -> None:
        self.topic = power_set_topic(client_id)
        self._state_topic = power_topic(client_id)
        self._receipt_topic = power_receipt_topic(client_id)
        self._power = power
        self._admin = admin
        self._audit = audit
        self._reply_topic = reply_topic
        self._loop = asyncio.get_running_loop()
        # Bounded by what the broker may send before it hears that we have answered.
        self._receipts: asyncio.Queue[_Receipt] = asyncio.Queue()

    def take(self, message: MQTTMessage, acknowledge: Acknowledge) -> None:
        """One setting. It is acknowledged with its receipt: until then the broker keeps it."""
        if message.retain:
            # It would be set again at each new session, whatever has been set since.
            self._admin.count("mqtt_retained_ignored")
            logger.warning("ignored a retained setting", extra={"topic": message.topic})
            acknowledge()
            return
        wish = getattr(message.properties, "ResponseTopic", "")
        topic = self._reply_topic(wish, self._receipt_topic)
        correlation = getattr(message.properties, "CorrelationData", b"")
        began_s = time.monotonic()

        def answer(document: dict[str, object]) -> None:
            self._record(document, round((time.monotonic() - began_s) * 1000))
            receipt = _Receipt(topic, msgspec.json.encode(document), correlation, acknowledge)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the broker keeps the setting
                self._loop.call_soon_threadsafe(self._receipts.put_nowait, receipt)

        try:
            values = read_values(bytes(message.payload))
            request_id = read_id(values)
        except RejectedError as error:
            answer(refusal("", error))
            return
        setting = self._power.set(values, operator_by_access_list("mqtt", self.topic))
        setting.add_done_callback(lambda done: answer(outcome(request_id, done)))

    def _record(self, receipt: dict[str, object], took_ms: int) -> None:
        if self._audit is None:
            return
        record = AuditRecord(
            who=operator_by_access_list("mqtt", self.topic).name,
            what="power",
            outcome=str(receipt["status"]),
            took_ms=took_ms,
            id=str(receipt["id"]),
            reason=str(receipt.get("reason", "")),
        )
        self._audit.record(record)

    async def run(self, connection: Connection) -> None:
        """Answer and tell the state over one connection, until cancelled."""
        await connection.ready.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_state, connection, name="tell the power setting")
            while True:
                receipt = await self._receipts.get()
                await self._publish(connection, receipt.topic, receipt.document, receipt.correlation)
                receipt.acknowledge()

    async def _tell_state(self, connection: Connection) -> None:
        told = b""
        while True:
            document = msgspec.json.encode({"v": 1, **holding(self._power.wish())})
            if document != told:
                await self._publish(connection, self._state_topic, document, retain=True)
                told = document
            await anyio.sleep(STATE_S)

    async def _publish(
        self,
        connection: Connection,
        topic: str,
        document: bytes,
        correlation: bytes = b"",
        retain: bool = False,
    ) -> None:
        """Returns once the broker has answered."""
        properties = json_properties(PacketTypes.PUBLISH)
        if correlation:
            properties.CorrelationData = correlation
        answered = anyio.Event()

        def on_taken(reason: ReasonCode) -> None:
            answered.set()
            if reason.is_failure:
                logger.error("the broker refuses %s: %s", topic[:256], explain(reason))

        try:
            connection.publish(topic, document, properties, on_taken, retain)
        except ValueError as error:
            logger.error("a power setting's answer cannot be published: %s", error)  # noqa: TRY400
            return
        await answered.wait()


def read_values(payload: bytes) -> dict[str, Any]:
    """The values that are asked for. Raises RejectedError."""
    if len(payload) > MAX_SETTING_BYTES:
        message = f"the setting has {len(payload)} bytes, at most {MAX_SETTING_BYTES} are taken"
        raise RejectedError(Reason.TOO_LONG, message)
    try:
        values: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(Reason.INVALID, f"the setting is no JSON object: {error}") from None
    return values


def read_id(values: dict[str, Any]) -> str:
    """Takes what the receipt shall name out of the values. Raises RejectedError."""
    request_id = values.pop("id", "")
    if not isinstance(request_id, str) or len(request_id) > MAX_ID_CHARACTERS:
        message = f"text of at most {MAX_ID_CHARACTERS} characters is needed"
        raise RejectedError(Reason.INVALID, message, field="id")
    return request_id


def outcome(request_id: str, setting: Future[Wish]) -> dict[str, object]:
    """The receipt of what was tried."""
    try:
        wish = setting.result()
    except RejectedError as error:
        return refusal(request_id, error)
    except Exception:
        logger.exception("a power setting failed")
        internal = RejectedError(Reason.INTERNAL, "internal error; the daemon's log says more")
        return refusal(request_id, internal)
    return {"v": 1, "id": request_id, "status": "ok", **holding(wish)}


def refusal(request_id: str, error: RejectedError) -> dict[str, object]:
    """The receipt of what was not taken."""
    logger.log(REASONS[error.reason].log_level, "power setting refused: %s", error)
    return {
        "v": 1,
        "id": request_id,
        "status": "error",
        "reason": error.reason.value,
        "message": error.message[:500],
        "field": error.field,
    }


def holding(wish: Wish) -> dict[str, object]:
    """What holds."""
    return {
        "limit_w": wish.limit_w,
        "limit_source": wish.source,
        "temperature_max_c": wish.temperature_max_c,
        "mode": wish.mode,
    }
