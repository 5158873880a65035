"""A real Mosquitto, an inbox that remembers, and clients that wait for events."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.integration.transport.transport_parts import CountingAdmin
from tests.support.ports import free_port

from lineside.config import MqttConfig
from lineside.ports import Acknowledge, Auditor, IncomingReport, OutgoingAnswer, PowerSetter
from lineside.transport.mqtt.link import MqttLink
from lineside.transport.mqtt.probe import answers_mqtt

Answer = Callable[[IncomingReport], bytes | None]


def echo(incoming: IncomingReport) -> bytes:
    return incoming.payload


class EchoInbox:
    """Keeps reports in memory and answers each with what `answer` makes of it (None: not).

    `stores` False: a journal that cannot write. `stores` None: it keeps what to call in `on_stored`.
    """

    def __init__(self, answer: Answer = echo, stores: bool | None = True) -> None:
        self.answer = answer
        self.stores = stores
        self.incoming: list[IncomingReport] = []
        self.on_stored: list[Acknowledge] = []
        self.unpublished: dict[int, OutgoingAnswer] = {}
        self.done: list[int] = []
        self.refusals: list[int] = []
        self.calls = 0
        self._rows = 0
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._lock = threading.Lock()

    def accept(self, incoming: IncomingReport, on_stored: Acknowledge) -> None:
        with self._lock:
            self.incoming.append(incoming)
            self.on_stored.append(on_stored)
        if self.stores:
            on_stored()
        if self.stores and (payload := self.answer(incoming)) is not None:
            self.put(
                OutgoingAnswer(
                    self._rows + 1,
                    incoming.reply_topic,
                    payload,
                    incoming.correlation,
                    incoming.mqtt5,
                    incoming.remaining_ms,
                )
            )
        self._notify()

    def put(self, answer: OutgoingAnswer) -> None:
        with self._lock:
            self._rows = max(self._rows + 1, answer.row)
            self.unpublished[answer.row] = answer
        self._notify()

    async def answers(self) -> AsyncIterator[OutgoingAnswer]:
        self.calls += 1
        self._given = given = set[int]()
        while True:
            for row, answer in list(self.unpublished.items()):
                if row not in given:
                    given.add(row)
                    yield answer
            async with self._changed:
                await self._changed.wait_for(lambda: self.unpublished.keys() - given)

    def again(self, rows: Iterable[int]) -> None:
        self._given.difference_update(rows)
        self._notify()

    def refused(self, row: int) -> None:
        self.refusals.append(row)

    def published(self, row: int) -> None:
        with self._lock:
            self.done.append(row)
            self.unpublished.pop(row, None)
        self._notify()

    async def until(self, condition: Callable[[], bool], seconds: float = 8) -> None:
        """Wait until something that the inbox is told makes the condition true."""
        with anyio.fail_after(seconds):
            async with self._changed:
                await self._changed.wait_for(condition)

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(notify()))


class Device:
    """A client of the broker, of either protocol, that waits for messages."""

    def __init__(self, port: int, client_id: str = "", protocol: int = MQTTv5, user: str = "") -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        if user:
            self._client.username_pw_set(user, user)
        self._messages: list[MQTTMessage] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_socket_open = lambda _c, _d, sock: sock.setsockopt(socket.IPPROTO_TCP, 1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def listen(self, topic_filter: str) -> None:
        self._subscribed.clear()
        self._client.subscribe(topic_filter, qos=1)
        assert self._subscribed.wait(5)

    def send(
        self, topic: str, payload: bytes, qos: int = 1, retain: bool = False, **properties: Any
    ) -> MQTTMessageInfo:
        """Send without waiting for anything."""
        wire = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(wire, name, value)
        return self._client.publish(topic, payload, qos, retain, wire if properties else None)

    def publish(
        self, topic: str, payload: bytes, qos: int = 1, retain: bool = False, **properties: Any
    ) -> None:
        """Send, and wait for the broker's PUBACK."""
        self.send(topic, payload, qos, retain, **properties).wait_for_publish(5)

    def wait(
        self, condition: Callable[[MQTTMessage], bool] = lambda _: True, seconds: float = 8
    ) -> MQTTMessage:
        """The first message, of those not yet taken, that fits; others before it are dropped."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(condition(m) for m in self._messages), seconds), (
                f"no such message; got {[(m.topic, m.payload[:80]) for m in self._messages]}"
            )
            while not condition(message := self._messages.pop(0)):
                pass
            return message

    def heard(self) -> list[MQTTMessage]:
        with self._changed:
            return list(self._messages)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def device(port: int, *filters: str, **arguments: Any):
    client = Device(port, **arguments)
    try:
        for topic_filter in filters:
            client.listen(topic_filter)
        yield client
    finally:
        client.close()


@dataclass
class Broker:
    """A plain Mosquitto of the test's own."""

    directory: Path
    port: int = field(default_factory=free_port)
    lines: Iterable[str] = ("allow_anonymous true",)
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        config = self.directory / f"broker-{self.port}.conf"
        tls = any(line.startswith("cafile") for line in self.lines)
        config.write_text(
            "\n".join(
                ["user root", f"listener {self.port} 127.0.0.1", *self.lines, "set_tcp_nodelay true", ""]
            )
        )
        log = (self.directory / f"broker-{self.port}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-v", "-c", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        with anyio.fail_after(5):
            while not (await self._listens() if tls else await answers_mqtt("127.0.0.1", self.port)):
                assert self.process.poll() is None, self.log()
                if "allow_anonymous true" not in self.lines and await self._listens():
                    return
                await anyio.sleep(0.01)

    async def _listens(self) -> bool:
        with suppress(OSError):
            await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
            return True
        return False

    def log(self) -> str:
        return (self.directory / f"broker-{self.port}.log").read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)


@asynccontextmanager
async def broker(directory: Path, *lines: str) -> AsyncIterator[Broker]:
    running = Broker(directory, lines=lines or ("allow_anonymous true",))
    await running.start()
    try:
        yield running
    finally:
        running.end()


@dataclass
class Linked:
    """A link at work, with its parts."""

    link: MqttLink
    inbox: EchoInbox
    admin: CountingAdmin


@asynccontextmanager
async def linked(
    config: MqttConfig,
    inbox: EchoInbox | None = None,
    wait: bool = True,
    power: PowerSetter | None = None,
    audit: Auditor | None = None,
) -> AsyncIterator[Linked]:
    inbox, admin = inbox or EchoInbox(), CountingAdmin()
    link = MqttLink(config, inbox, admin, power=power, audit=audit)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        try:
            if wait:
                await until_connected(link)
            yield Linked(link, inbox, admin)
        finally:
            with anyio.CancelScope(shield=True):
                await link.stop()
            tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 8) -> None:
    """For states that nothing announces."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.005)


async def until_connected(link: MqttLink, seconds: float = 8) -> None:
    await until(lambda: link.connected, seconds)


def cut(link: MqttLink) -> None:
    """Break the connection as a cable does."""
    connection = link._connection
    assert connection is not None
    sock = connection._client.socket()
    assert sock is not None
    sock.shutdown(socket.SHUT_RDWR)


async def reconnected(linked_: Linked) -> None:
    """Cut, and wait for the next connection."""
    before = linked_.link._connection
    cut(linked_.link)
    await until(lambda: linked_.link._connection is not before and linked_.link.connected)


def config(port: int, **changed: Any) -> MqttConfig:
    return MqttConfig(broker="external", port=port, **changed)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: function(*arguments), abandon_on_cancel=True)


def status_of(message: MQTTMessage) -> str:
    return json.loads(message.payload)["status"]
