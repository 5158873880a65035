"""One connection to the broker, from CONNECT to its end. Knows nothing of reports and answers.

Each has a paho client of its own, which never connects again: what an old connection still holds, such as a
late acknowledgement, can never reach a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from lineside.config import MqttConfig
from lineside.ports import Acknowledge
from lineside.transport.mqtt.session import connect, explain, json_properties, make_client, status_document
from lineside.transport.mqtt.topics import FAULT_FILTER, FEEDBACK_FILTER, status_topic

logger = logging.getLogger("lineside.transport.mqtt")

# Brokers overshoot our Receive Maximum; Mosquitto 2.0 sends all that it has when a session goes on. Beyond
# this nothing more is read until some of it is stored; where that takes too long, we part, and it keeps it.
OVERSHOOT = 64
STORE_S = 4.0
WINDOW = 16
CLOSE_S = 2.0
# paho's thread comes round at least once a second.
BEAT_S = 0.5
SESSION_TAKEN_OVER = 0x8E

OnMessage = Callable[[MQTTMessage, Acknowledge], None]
OnTaken = Callable[[ReasonCode], None]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Implements ports.Acknowledge, of one message over the connection that it came by."""

    connection: Connection
    mid: int
    qos: int

    def __call__(self) -> None:
        """See ports.Acknowledge."""
        self.connection.acknowledge(self.mid, self.qos)

    def void(self) -> bool:
        """See ports.Acknowledge. At QoS 0 nothing comes again."""
        return self.qos > 0 and self.connection.over.is_set()


class Connection:
    """Publishes and receives. All but the callbacks of paho runs on the event loop."""

    def __init__(
        self, config: MqttConfig, version: str, on_message: OnMessage, filters: tuple[str, ...] = ()
    ) -> None:
        self._config = config
        self._filters = (FAULT_FILTER, FEEDBACK_FILTER, *filters)
        self._version = version
        self._handle = on_message
        self._client = make_client(config, version)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect
        self._loop = asyncio.get_running_loop()
        self._scope = anyio.CancelScope()
        self._waiting: dict[int, OnTaken] = {}
        self._settled = anyio.Event()
        self._closing = False
        self._lived = False
        self._room = threading.Condition()
        self._unstored = 0
        self._end = "the connection was lost"
        self._welcomed_s: float | None = None
        self.taken_over = False
        self.ready = anyio.Event()
        self.over = anyio.Event()
        self.window = WINDOW
        self.max_packet_bytes = 0

    async def run(self) -> str:
        """Connect and stay until it is over; returns why it ended."""
        try:
            with self._scope:
                await anyio.to_thread.run_sync(
                    self._live, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
                )
        except OSError as error:
            return f"cannot connect: {error}"
        finally:
            self._let_go()
            self._client.disconnect()
            self._close_sockets()
            self.over.set()
            self._settled.set()
        return self._end

    def _close_sockets(self) -> None:
        """paho keeps some open until the collector finds the client, and the broker's where its thread died.

        Publishing and acknowledging write to one of them; on the loop, with the lock, neither does meanwhile.
        """
        with self._room:
            if self._lived:
                self._client._reset_sockets()

    def publish(
        self, topic: str, payload: bytes, properties: Properties, on_taken: OnTaken, retain: bool = False
    ) -> None:
        """Send at QoS 1. `on_taken` runs once the broker has answered, if it does.

        Raises ValueError for what no broker takes.
        """
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise ValueError(f"paho: {info.rc!s}")
        # The broker's answer reaches this loop later: it is posted.
        self._waiting[info.mid] = on_taken

    @property
    def held_s(self) -> float | None:
        """Seconds since the broker's welcome; None where it never gave one, or we ended it."""
        return None if self._welcomed_s is None else time.monotonic() - self._welcomed_s

    async def progress(self) -> None:
        """Returns once paho's thread has come round, or the connection is over."""
        beats = self._client.beats
        while self._client.beats == beats:
            with anyio.move_on_after(BEAT_S):
                await self.over.wait()
                return

    async def close(self) -> None:
        """Wait for the broker's answers, say that the daemon stopped, disconnect."""
        self._let_go()
        if self.ready.is_set() and not self.over.is_set():
            self._publish_status("stopped")
            with anyio.move_on_after(CLOSE_S):
                while self._waiting and not self.over.is_set():
                    self._settled = anyio.Event()
                    await self._settled.wait()
        self._client.disconnect()
        with anyio.move_on_after(CLOSE_S):
            await self.over.wait()
        self._scope.cancel()

    def _live(self) -> None:
        """The whole life of the connection, in a thread that waits for paho's."""
        connect(self._client, self._config)
        self._client.loop_start()
        if self._closing:
            self._client.disconnect()
        # paho tells of an end by a callback, unless its thread died of an exception: the thread itself knows.
        thread = self._client._thread
        if thread is not None:
            thread.join()
        self._lived = True

    def _publish_status(self, state: str) -> None:
        document = status_document(state, self._version, self._config.client_id)
        topic = status_topic(self._config.client_id)
        self.publish(topic, document, json_properties(PacketTypes.PUBLISH), self._status_taken, retain=True)

    def _status_taken(self, reason: ReasonCode) -> None:
        if reason.is_failure:
            logger.warning("the broker refuses our status: %s", explain(reason))

    def _subscribed(self) -> None:
        if not self.ready.is_set():
            self._publish_status("online")
            self.ready.set()

    def _settle(self, mid: int, reason: ReasonCode) -> None:
        on_taken = self._waiting.pop(mid, None)
        if on_taken is not None:
            on_taken(reason)
        self._settled.set()

    def acknowledge(self, mid: int, qos: int) -> None:
        """A message is stored. From any thread, at any time."""
        with self._room:
            self._unstored -= 1
            self._room.notify()
            with contextlib.suppress(OSError):
                self._client.ack(mid, qos)

    def _let_go(self) -> None:
        """paho's thread does not wait any more."""
        with self._room:
            self._closing = True
            self._room.notify()

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    # From here on: paho's callbacks, on its thread.

    def _on_connect(
        self,
        client: Client,
        _data: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._end = f"the broker refuses us: {explain(reason)}"
            return
        self._welcomed_s = time.monotonic()
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", 0)
        logger.info("connected to the broker", extra={"session_present": flags.session_present})
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe([(topic_filter, options) for topic_filter in self._filters])
        if flags.session_present:
            # It listens already. What the broker kept comes before its SUBACK, for which no answer need wait.
            self._post(self._subscribed)

    def _on_subscribe(
        self, client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        for topic_filter, reason in zip(self._filters[1:], reasons[1:], strict=False):
            if reason.is_failure:
                logger.warning("the broker refuses to let us hear %s: %s", topic_filter, explain(reason))
        if reasons[0].is_failure:
            self._part(f"the broker refuses the subscription to {FAULT_FILTER}: {explain(reasons[0])}")
            return
        self._post(self._subscribed)

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        if not self._made_room():
            self._part("the broker sends more than it may before it hears that we stored it")
            return
        try:
            self._handle(message, Acknowledgement(self, message.mid, message.qos))
        except Exception:  # an exception would end paho's thread, silently
            logger.exception("a message could not be taken and is given up", extra={"mid": message.mid})
            # Unacknowledged it would come again for ever, and enough of them would stop all others.
            self.acknowledge(message.mid, message.qos)

    def _part(self, why: str) -> None:
        """It is we who end it, which says nothing of others."""
        self._end, self._welcomed_s = why, None
        self._client.disconnect()

    def _made_room(self) -> bool:
        """Count one more message; waits while there are too many that nobody has stored yet."""
        most = self._config.receive_maximum + OVERSHOOT
        with self._room:
            self._room.wait_for(lambda: self._unstored < most or self._closing, STORE_S)
            self._unstored += 1
            return self._unstored <= most

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._post(self._settle, mid, reason)

    def _on_disconnect(
        self,
        _client: Client,
        _data: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end = f"the broker ended the connection: {explain(reason)}"
            self.taken_over = reason.value == SESSION_TAKEN_OVER
