"""The daemon's link to the broker: one connection after another, for ever. Knows nothing of what is said."""

from __future__ import annotations

import logging

import anyio
import anyio.to_thread
from paho.mqtt.client import MQTTMessage

from lineside.config import MqttConfig, is_loopback
from lineside.errors import LinesideError
from lineside.gateways.gateways import Gateways
from lineside.ports import Acknowledge, Admin, Auditor, AuditRecord, Inbox, PowerSetter
from lineside.transport.mqtt.backoff import Backoff
from lineside.transport.mqtt.connection import Connection
from lineside.transport.mqtt.hello import takes_any_password
from lineside.transport.mqtt.intake import Intake
from lineside.transport.mqtt.power import PowerTopic
from lineside.transport.mqtt.probe import listens
from lineside.transport.mqtt.publisher import Publisher
from lineside.transport.mqtt.rivals import WAIT_S as RIVALS_WAIT_S
from lineside.transport.mqtt.rivals import Rivals
from lineside.transport.mqtt.session import IN_USE, make_client
from lineside.transport.mqtt.topics import check_filters, decode_device, device_levels, is_feedback, is_ours

logger = logging.getLogger("lineside.transport.mqtt")

# A connection that held this long was a good one: the next attempt follows soon.
STABLE_S = 10.0
# Between two attempts at most, for critical reports wait. A broker on this machine has nobody else to fear.
RETRY_S, LOCAL_RETRY_S = 15.0, 2.0


class MqttLink:
    """Reports in, answers out, status beside them. Lives on when the broker does not."""

    def __init__(  # noqa: PLR0913, PLR0917 as many as are wired
        self,
        config: MqttConfig,
        inbox: Inbox,
        admin: Admin,
        gateways: Gateways | None = None,
        power: PowerSetter | None = None,
        audit: Auditor | None = None,
    ) -> None:
        self._config = config
        self._admin = admin
        self._audit = audit
        self._version = admin.status().version
        gateways = gateways or Gateways()
        filters = check_filters(config.reply_topics)
        self._intake = Intake(inbox, admin, filters, gateways, config.forms, retained=config.retained)
        self._power = None
        if config.power and power is not None:
            self._power = PowerTopic(config.client_id, power, admin, self._intake.reply_topic, audit)
        # What is listened to over the present connection.
        self._listening: PowerTopic | None = None
        self._mapped = gateways.filters
        self._publisher = Publisher(inbox, admin)
        self._connection: Connection | None = None
        self._publishing = anyio.CancelScope()
        self._stopping = anyio.Event()
        make_client(config, self._version)  # what cannot be read is an error now, not at some reconnect

    @property
    def connected(self) -> bool:
        """Whether reports can come in now."""
        connection = self._connection
        return connection is not None and connection.ready.is_set() and not connection.over.is_set()

    @property
    def address(self) -> str:
        """The broker."""
        return f"{self._config.host}:{self._config.port}"

    async def progress(self) -> None:
        """Returns once the connection's thread goes on. Without one nothing can stick."""
        if self._connection is not None and self.connected:
            await self._connection.progress()

    async def run(self) -> None:
        """Connect, and again whenever a connection ends, until stopped."""
        most_s = LOCAL_RETRY_S if is_loopback(self._config.host) else RETRY_S
        backoff, rivals = Backoff(most_s=most_s), Rivals()
        while not self._stopping.is_set():
            begin = anyio.current_time()
            self._connection = None
            why = await self._connect_once()
            if self._stopping.is_set():
                return
            if anyio.current_time() - begin > STABLE_S:
                backoff.reset()
            wait_s = backoff.next_s()
            if await self._is_rival(rivals):
                self._admin.count("mqtt_client_id_in_use")
                why = why if IN_USE in why else f"{why}; {IN_USE}"
                wait_s += RIVALS_WAIT_S
            logger.warning("no broker: %s", why, extra={"broker": self.address, "retry_s": round(wait_s, 1)})
            with anyio.move_on_after(wait_s):
                await self._stopping.wait()

    async def stop(self) -> None:
        """Publish nothing new, wait for what is on its way, say that the daemon stopped, disconnect."""
        self._stopping.set()
        self._publishing.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def _connect_once(self) -> str:
        """One connection, whole; returns why it ended."""
        try:
            self._listening = await self._power_here()
            filters = (*self._mapped, *((self._listening.topic,) if self._listening else ()))
            connection = Connection(self._config, self._version, self._take, filters)
        except LinesideError as error:
            return str(error)
        self._connection = connection
        self._admin.count("mqtt_connections")
        self._publishing = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._publish, connection, name="publish answers")
            why = await connection.run()
            self._publishing.cancel()
        return why

    async def _is_rival(self, rivals: Rivals) -> bool:
        """Whether the connection that has ended speaks of another client with our id."""
        ended = self._connection
        if ended is None:
            return False
        held_s = ended.held_s
        if (
            held_s is not None
            and not ended.taken_over
            and not await listens(self._config.host, self._config.port)
        ):
            # It was the broker's own end, which says nothing of others.
            held_s = None
        return rivals.ended(held_s, taken_over=ended.taken_over)

    async def _power_here(self) -> PowerTopic | None:
        """What sets power; None where the broker asks nobody who he is, whatever its access list says."""
        if self._power is None or not self._config.user:
            return self._power
        asked = await anyio.to_thread.run_sync(takes_any_password, self._config, abandon_on_cancel=True)
        if not asked:
            return self._power
        self._admin.count("mqtt_power_not_listened")
        logger.error(
            "no power is set over MQTT: the broker takes any password for %r; "
            "start it again where it is lineside-broker, else let it ask for passwords",
            self._config.user,
        )
        return None

    async def _publish(self, connection: Connection) -> None:
        with self._publishing:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._publisher.run, connection)
                if self._listening is not None:
                    tasks.start_soon(self._listening.run, connection)

    def _take(self, message: MQTTMessage, acknowledge: Acknowledge) -> None:
        try:
            if self._listening is not None and message.topic == self._listening.topic:
                self._listening.take(message, acknowledge)
            else:
                self._intake.take(message, acknowledge)
        except Exception:
            self._record_given_up(message.topic)
            raise

    def _record_given_up(self, topic: str) -> None:
        """The connection gives it up, whose sender hears nothing."""
        self._admin.count("mqtt_given_up")
        if self._audit is not None:
            who = decode_device(device_levels(topic)) if is_ours(topic) else topic
            what = "feedback" if is_feedback(topic) else "fault"
            record = AuditRecord(who=f"mqtt:{who[:512]}", what=what, outcome="error", reason="internal")
            self._audit.record(record)
