"""The link over a real Mosquitto."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import anyio.to_thread
import pytest
from paho.mqtt.client import MQTTv311
from tests.integration.transport.mqtt_parts import (
    Broker,
    EchoInbox,
    broker,
    config,
    device,
    free_port,
    in_thread,
    linked,
    reconnected,
    status_of,
    until,
    until_connected,
)
from tests.integration.transport.transport_parts import CountingAdmin

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.ports import AuditRecord, OutgoingAnswer
from lineside.transport.mqtt import connection as connection_module
from lineside.transport.mqtt.link import MqttLink
from lineside.transport.mqtt.session import BeatingClient, session_id

pytestmark = pytest.mark.anyio

STATUS = "lineside/v1/status/lineside"
DIAGNOSES = "lineside/v1/diagnosis/#"


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Broker]:
    async with broker(tmp_path) as running:
        yield running


async def test_an_answer_carries_what_the_request_asked_for(plain: Broker):
    def ask() -> None:
        with device(plain.port, "response/7") as client:
            client.publish(
                "lineside/v1/fault/line1/press%2B7",
                b'{"request_id":"r1"}',
                ResponseTopic="response/7",
                CorrelationData=b"\x00\xff",
                MessageExpiryInterval=60,
                ContentType="application/json",
            )
            answer = client.wait()
        assert answer.payload == b'{"request_id":"r1"}'
        assert answer.qos == 1
        assert answer.properties.CorrelationData == b"\x00\xff"
        assert answer.properties.ContentType == "application/json"
        assert 55 <= answer.properties.MessageExpiryInterval <= 60

    async with linked(config(plain.port)) as parts:
        await in_thread(ask)
        (report,) = parts.inbox.incoming
        assert (report.device, report.request_id, report.mqtt5) == ("line1/press+7", "r1", True)
        assert report.remaining_ms is not None
        assert 55_000 <= report.remaining_ms <= 60_000
        await parts.inbox.until(lambda: parts.inbox.done == [1])
        assert parts.admin.counters["mqtt_answers_published"] == 1


async def test_a_client_of_the_older_protocol_gets_its_answer_by_topic(plain: Broker):
    def ask() -> None:
        with device(plain.port, DIAGNOSES, "response/#", protocol=MQTTv311) as client:
            client.publish("lineside/v1/fault/line1/press", b'{"a":1}')
            assert client.wait().topic == "lineside/v1/diagnosis/line1/press"
            client.publish("lineside/v1/fault/x", b'{"reply_to":"response/json"}')
            assert client.wait().topic == "response/json"

    async with linked(config(plain.port)) as parts:
        await in_thread(ask)
        assert [report.mqtt5 for report in parts.inbox.incoming] == [False, False]


async def test_mosquittos_own_clients_get_their_answers(plain: Broker):
    base = ["-h", "127.0.0.1", "-p", str(plain.port)]

    def ask() -> None:
        rr = ["mosquitto_rr", *base, "-V", "5", "-W", "5", "-t", "lineside/v1/fault/rr", "-e", "response/rr"]
        heard = subprocess.run([*rr, "-m", '{"by":"rr"}'], capture_output=True, timeout=10, check=True)
        assert heard.stdout.strip() == b'{"by":"rr"}'
        with device(plain.port, DIAGNOSES) as client:
            pub = ["mosquitto_pub", *base, "-V", "311", "-q", "1", "-t", "lineside/v1/fault/pub"]
            subprocess.run([*pub, "-m", '{"by":"pub"}'], timeout=10, check=True)
            assert client.wait().payload == b'{"by":"pub"}'

    async with linked(config(plain.port)) as parts:
        await in_thread(ask)
        assert [report.device for report in parts.inbox.incoming] == ["rr", "pub"]
        assert parts.inbox.incoming[0].reply_topic == "response/rr"


async def test_a_reply_topic_beyond_the_allow_list_is_not_used(plain: Broker):
    def ask() -> None:
        with device(plain.port, "#") as client:
            for wish in ("secret/x", "lineside/v1/fault/loop", STATUS):
                client.publish("lineside/v1/fault/a", wish.encode(), ResponseTopic=wish)
                answer = client.wait(lambda m: m.topic != "lineside/v1/fault/a")
                while answer.topic == STATUS and b"online" in answer.payload:
                    answer = client.wait(lambda m: m.topic != "lineside/v1/fault/a")
                assert (answer.topic, answer.payload) == ("lineside/v1/diagnosis/a", wish.encode())

    async with linked(config(plain.port, reply_topics=("lineside/#",))) as parts:
        await in_thread(ask)
        assert parts.admin.counters["mqtt_reply_topics_refused"] == 3
        assert len(parts.inbox.incoming) == 3


async def test_retained_faults_are_ignored_and_counted(plain: Broker):
    def leave() -> None:
        with device(plain.port) as client:
            client.publish("lineside/v1/fault/old", b"old", retain=True)

    def ask() -> None:
        with device(plain.port) as client:
            client.publish("lineside/v1/fault/new", b"new", retain=True)

    await in_thread(leave)
    async with linked(config(plain.port)) as parts:
        await until(lambda: parts.admin.counters["mqtt_retained_ignored"] == 1)
        await in_thread(ask)  # it happens now, retained or not
        await parts.inbox.until(lambda: len(parts.inbox.incoming) == 1)
        assert parts.inbox.incoming[0].payload == b"new"


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\x00", b"{", b"x" * 70_000], ids=["none", "bytes", "cut", "long"]
)
async def test_malformed_and_oversized_payloads_reach_the_inbox(plain: Broker, payload: bytes):
    def ask() -> None:
        with device(plain.port, DIAGNOSES) as client:
            client.publish("lineside/v1/fault/a", payload)
            assert client.wait().payload == b"error"

    async with linked(config(plain.port), EchoInbox(lambda _: b"error")) as parts:
        await in_thread(ask)
        assert parts.inbox.incoming[0].payload == payload


async def test_nothing_is_acknowledged_before_it_is_stored(plain: Broker):
    def ask(payload: bytes) -> None:
        with device(plain.port) as client:
            client.publish("lineside/v1/fault/a", payload)

    async with linked(config(plain.port), EchoInbox(stores=False)) as parts:
        await in_thread(ask, b"one")
        await parts.inbox.until(lambda: len(parts.inbox.incoming) == 1)
    async with linked(config(plain.port)) as parts:
        await parts.inbox.until(lambda: len(parts.inbox.incoming) == 1)
        assert parts.inbox.incoming[0].payload == b"one"
    async with linked(config(plain.port)) as parts:
        await in_thread(ask, b"two")
        await parts.inbox.until(lambda: len(parts.inbox.incoming) == 1)
        assert parts.inbox.incoming[0].payload == b"two"


async def test_a_late_acknowledgement_of_an_old_connection_acknowledges_nothing(plain: Broker):
    def ask(payload: bytes) -> None:
        with device(plain.port) as client:
            client.publish("lineside/v1/fault/a", payload)

    async with linked(config(plain.port), EchoInbox(stores=None)) as parts:
        inbox = parts.inbox

        def came(payload: bytes) -> int:
            return sum(report.payload == payload for report in inbox.incoming)

        await in_thread(ask, b"one")
        await inbox.until(lambda: came(b"one") == 1)
        await reconnected(parts)
        await inbox.until(lambda: came(b"one") == 2)  # it came again, with the same packet id
        assert [stored.void() for stored in inbox.on_stored] == [True, False]
        inbox.on_stored[0]()
        await in_thread(inbox.on_stored[0])
        await reconnected(parts)
        await inbox.until(lambda: came(b"one") == 3)
        inbox.on_stored[2]()
        await in_thread(ask, b"two")  # its coming shows that what was to be sent before is sent
        await inbox.until(lambda: came(b"two") == 1)
        await reconnected(parts)
        await in_thread(ask, b"three")
        await inbox.until(lambda: came(b"three") == 1 and came(b"two") == 2)
        assert came(b"one") == 3


async def test_what_came_at_qos_0_is_not_left_with_the_broker(plain: Broker):
    def ask() -> None:
        with device(plain.port) as client:
            client.publish("lineside/v1/fault/a", b"0", qos=0)

    async with linked(config(plain.port), EchoInbox(stores=None)) as parts:
        await in_thread(ask)
        await parts.inbox.until(lambda: len(parts.inbox.on_stored) == 1)
        await reconnected(parts)
        assert not parts.inbox.on_stored[0].void()


async def test_acknowledgements_are_taken_from_any_thread(plain: Broker):
    def ask() -> None:
        with device(plain.port) as client:
            for index in range(100):
                client.publish("lineside/v1/fault/a", b"%d" % index)

    async with linked(config(plain.port, receive_maximum=2), EchoInbox(stores=None)) as parts:
        inbox = parts.inbox

        async def store() -> None:
            for index in range(100):
                await inbox.until(lambda index=index: len(inbox.incoming) > index)
                await in_thread(inbox.on_stored[index])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_thread, ask)
            tasks.start_soon(store)
        assert [report.payload for report in inbox.incoming] == [b"%d" % index for index in range(100)]
        assert parts.link._connection._unstored == 0


async def test_an_exception_in_the_inbox_does_not_end_the_thread(
    plain: Broker, caplog: pytest.LogCaptureFixture
):
    class Fragile(EchoInbox):
        def accept(self, incoming, on_stored):
            if incoming.payload == b"bad":
                raise ZeroDivisionError("a bug of ours")
            super().accept(incoming, on_stored)

    def ask() -> None:
        with device(plain.port, DIAGNOSES) as client:
            client.publish("lineside/v1/fault/a", b"bad")
            client.publish("lineside/v1/fault/a", b"good")
            assert client.wait().payload == b"good"

    records: list[AuditRecord] = []
    audit = SimpleNamespace(payloads=False, record=records.append)
    async with linked(config(plain.port), Fragile(), audit=audit):
        await in_thread(ask)
    assert "a message could not be taken" in caplog.text
    assert [(one.who, one.what, one.outcome, one.reason) for one in records] == [
        ("mqtt:a", "fault", "error", "internal")
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_of_paho_that_died_is_followed_by_another(plain: Broker):
    """Its client goes on saying that it is connected."""

    def die() -> None:
        raise ZeroDivisionError("a bug of paho's")

    def ask() -> None:
        with device(plain.port, DIAGNOSES) as client:
            client.publish("lineside/v1/fault/a", b"after")
            assert client.wait().payload == b"after"

    async with linked(config(plain.port)) as parts:
        sockets = open_sockets()
        for deaths in range(1, 4):
            first = parts.link._connection
            first._client.loop_misc = die
            await until(lambda first=first: first.over.is_set())
            await until_connected(parts.link)
            assert parts.admin.counters["mqtt_connections"] == 1 + deaths
            assert parts.link._connection is not first
        assert open_sockets() <= sockets, "what the dead ones held is closed"
        await in_thread(ask)


def open_sockets() -> int:
    return sum(one.is_socket() for one in Path("/proc/self/fd").iterdir())


async def test_what_a_connection_held_is_closed_where_answers_are_published(
    plain: Broker, monkeypatch: pytest.MonkeyPatch
):
    """Beside it, publishing would write to what is being closed."""
    closed = []
    real = BeatingClient._reset_sockets

    def recorded(client: BeatingClient, sockpair_only: bool = False) -> None:
        closed.append((threading.get_ident(), client))
        real(client, sockpair_only)

    async with linked(config(plain.port)) as parts:
        monkeypatch.setattr(BeatingClient, "_reset_sockets", recorded)
        first = parts.link._connection
        first._client.disconnect()
        await until_connected(parts.link)
        await until(lambda: parts.admin.counters["mqtt_connections"] == 2)
    assert (threading.get_ident(), first._client) in closed
    assert {thread for thread, client in closed if client is first._client} == {threading.get_ident()}


async def test_an_answer_that_has_expired_is_not_published(plain: Broker):
    def hear() -> bytes:
        with device(plain.port, DIAGNOSES) as client:
            ready.set()
            return client.wait().payload

    inbox = EchoInbox()
    async with linked(config(plain.port), inbox) as parts, anyio.create_task_group() as tasks:
        ready = anyio.Event()
        heard: list[bytes] = []

        async def listen() -> None:
            heard.append(await in_thread(hear))

        tasks.start_soon(listen)
        await until(lambda: "lineside/v1/diagnosis/#" in plain.log())
        inbox.put(OutgoingAnswer(1, "lineside/v1/diagnosis/a", b"late", b"", True, 0))
        inbox.put(OutgoingAnswer(2, "lineside/v1/diagnosis/a", b"soon", b"", True, 1))
        await inbox.until(lambda: sorted(inbox.done) == [1, 2])
        assert parts.admin.counters["mqtt_answers_expired"] == 1
    assert heard == [b"soon"]


async def test_many_answers_are_each_published_once(plain: Broker):
    def hear() -> list[bytes]:
        with device(plain.port, DIAGNOSES) as client:
            tasks_ready.set()
            return [client.wait().payload for _ in range(200)]

    import threading

    tasks_ready = threading.Event()
    inbox = EchoInbox()
    heard: list[list[bytes]] = []
    async with linked(config(plain.port), inbox), anyio.create_task_group() as tasks:

        async def listen() -> None:
            heard.append(await in_thread(hear))

        tasks.start_soon(listen)
        await in_thread(tasks_ready.wait, 5)
        for row in range(1, 201):
            inbox.put(OutgoingAnswer(row, "lineside/v1/diagnosis/a", b"%d" % row, b"", True, None))
        await inbox.until(lambda: len(inbox.done) == 200)
        assert inbox.done == list(range(1, 201))
    assert heard == [[b"%d" % row for row in range(1, 201)]]


async def test_after_a_restart_of_the_broker_all_goes_on(tmp_path: Path):
    def ask(payload: bytes) -> None:
        with device(running.port, DIAGNOSES) as client:
            client.publish("lineside/v1/fault/a", payload)
            assert client.wait().payload == payload

    async with broker(tmp_path) as running, linked(config(running.port)) as parts:
        await in_thread(ask, b"one")
        await in_thread(running.end, signal.SIGKILL)
        await until(lambda: not parts.link.connected)
        parts.inbox.put(OutgoingAnswer(9, "lineside/v1/diagnosis/b", b"kept", b"", True, None))
        await anyio.sleep(0.05)
        assert 9 in parts.inbox.unpublished
        await running.start()
        await until_connected(parts.link)
        await parts.inbox.until(lambda: 9 in parts.inbox.done)
        await in_thread(ask, b"two")  # without a session of the broker's: subscribed again
        assert parts.inbox.calls == 2
        assert parts.admin.counters["mqtt_connections"] >= 2


async def test_a_broker_that_is_down_at_the_start_is_found_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    late = Broker(tmp_path)
    async with linked(config(late.port), wait=False) as parts:
        await until(lambda: "cannot connect" in caplog.text)
        assert not parts.link.connected
        assert parts.link.address == f"127.0.0.1:{late.port}"
        await late.start()
        await until_connected(parts.link)
    late.end()


async def test_a_broker_of_this_machine_that_stays_away_is_asked_every_two_seconds(
    caplog: pytest.LogCaptureFixture,
):
    """Critical reports may be waiting there."""
    async with linked(config(free_port()), wait=False):
        await until(lambda: len(waits(caplog)) >= 6, 12)
    assert 0 < min(waits(caplog)) < 0.6
    assert 1.0 <= max(waits(caplog)) <= 2.0


def waits(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The time to the next attempt, of each that has failed."""
    return [record.retry_s for record in caplog.records if hasattr(record, "retry_s")]


async def test_stop_works_while_there_is_no_broker():
    async with linked(config(free_port()), wait=False):
        await anyio.sleep(0.05)
        with anyio.fail_after(3):
            pass


async def test_status_is_retained_and_follows_the_link(plain: Broker):
    def hear() -> str:
        with device(plain.port, STATUS) as client:
            message = client.wait()
            assert message.retain
            assert json.loads(message.payload)["version"] == "0.1.0"
            return status_of(message)

    async with linked(config(plain.port)) as parts:
        assert await in_thread(hear) == "online"
        await reconnected(parts)
        await until(lambda: True)
        assert await in_thread(wait_status, plain.port, "online")
    assert await in_thread(hear) == "stopped"


async def test_another_client_with_our_id_is_named_and_not_fought(plain: Broker, caplog):
    async with linked(config(plain.port)) as parts:
        with device(plain.port, client_id=session_id(config(plain.port))):
            await until(lambda: parts.admin.counters["mqtt_client_id_in_use"] == 1, 15)
            # It comes again by itself, as ours does: Mosquitto closes the older connection and says nothing.
            assert parts.admin.counters["mqtt_connections"] <= 4
            (said,) = [one for one in caplog.records if "client id in use" in one.getMessage()]
            assert said.retry_s >= 10


async def test_a_broker_that_dies_again_and_again_is_no_rival(plain: Broker):
    async with linked(config(plain.port)) as parts:
        for _ in range(5):
            plain.end(signal.SIGKILL)
            await until(lambda: not parts.link.connected)
            await plain.start()
            await until_connected(parts.link)
        assert "mqtt_client_id_in_use" not in parts.admin.counters


def wait_status(port: int, status: str) -> bool:
    with device(port, STATUS) as client:
        return status_of(client.wait(lambda m: status_of(m) == status)) == status


DAEMON = """
import sys, anyio
sys.path[:0] = {path!r}
from tests.integration.transport.mqtt_parts import EchoInbox, config, linked
async def main():
    async with linked(config({port}), EchoInbox(stores=False)):
        print("ready", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


async def test_a_killed_daemon_is_offline_by_its_will(plain: Broker):
    script = DAEMON.format(path=sys.path, port=plain.port)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert await in_thread(process.stdout.readline) == b"ready\n"
        assert await in_thread(wait_status, plain.port, "online")
        process.kill()
        assert await in_thread(wait_status, plain.port, "offline")
    finally:
        process.kill()
        process.communicate()


async def test_wrong_credentials_say_what_to_do_and_are_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    users = tmp_path / "users"
    make = ["mosquitto_passwd", "-b", "-c", str(users), "plant", "right"]
    subprocess.run(make, check=True, capture_output=True)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    async with broker(tmp_path, "allow_anonymous false", f"password_file {users}") as running:
        wanted = config(running.port, user="plant", password_file=str(password))
        async with linked(wanted, wait=False) as parts:
            await until(lambda: "password_file" in caplog.text)
            assert not parts.link.connected
            password.write_text("right\r\n")
            await until_connected(parts.link)


async def test_an_answer_that_the_broker_refuses_stays_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    rules = tmp_path / "rules"
    rules.write_text("topic read #\ntopic write lineside/v1/status/#\ntopic write lineside/v1/fault/#\n")
    rules.chmod(0o644)
    async with broker(tmp_path, "allow_anonymous true", f"acl_file {rules}") as running:
        inbox = EchoInbox()
        async with linked(config(running.port), inbox) as parts:
            inbox.put(OutgoingAnswer(1, "lineside/v1/diagnosis/a", b"x", b"", True, None))
            await until(lambda: parts.admin.counters["mqtt_answers_refused"] == 1)
    assert inbox.done == []
    assert 1 in inbox.unpublished
    assert "cannot be published" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        OutgoingAnswer(1, "lineside/v1/diagnosis/a", b"x" * 2000, b"", True, None),
        OutgoingAnswer(1, "bad/#", b"x", b"", True, None),
        OutgoingAnswer(1, "x" * 65_536, b"x", b"", True, None),
    ],
    ids=["too large", "wildcard", "long topic"],
)
async def test_an_answer_that_no_broker_takes_does_not_stop_the_others(
    tmp_path: Path, answer: OutgoingAnswer
):
    async with broker(tmp_path, "allow_anonymous true", "max_packet_size 1000") as running:
        inbox = EchoInbox()
        async with linked(config(running.port), inbox) as parts:
            inbox.put(answer)
            inbox.put(OutgoingAnswer(2, "lineside/v1/diagnosis/a", b"fits", b"", True, None))
            await inbox.until(lambda: inbox.done == [2])
            assert parts.admin.counters["mqtt_answers_refused"] == 1
            assert parts.link.connected


async def test_tls_with_a_client_certificate(tmp_path: Path):
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    if shutil.which("openssl") is None:
        pytest.fail("openssl is needed")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=plant", "-days", "2")
    (tmp_path / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    files = {name: str(tmp_path / name) for name in ("ca.pem", "client.pem", "client.key")}
    async with broker(
        tmp_path,
        "allow_anonymous false",
        f"cafile {tmp_path}/ca.pem",
        f"certfile {tmp_path}/server.pem",
        f"keyfile {tmp_path}/server.key",
        "require_certificate true",
        "use_identity_as_username true",
    ) as running:
        wanted = config(
            running.port, ca_file=files["ca.pem"], cert_file=files["client.pem"], key_file=files["client.key"]
        )
        async with linked(wanted) as parts:
            inbox = parts.inbox
            inbox.put(OutgoingAnswer(1, "lineside/v1/diagnosis/a", b"x", b"", True, None))
            await inbox.until(lambda: inbox.done == [1])
        async with linked(config(running.port, ca_file=files["ca.pem"]), wait=False) as parts:
            await until(lambda: parts.admin.counters["mqtt_connections"] >= 2)
            assert not parts.link.connected


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("password_file", {"user": "a", "password_file": "/nonexistent"}),
        ("ca_file", {"ca_file": "/nonexistent"}),
        ("ca_file", {"ca_file": "/etc/hostname"}),
        ("reply_topics", {"reply_topics": ("a/#/b",)}),
    ],
)
async def test_what_cannot_be_used_is_refused_at_once(key: str, changed: dict[str, object]):
    with pytest.raises(LinesideError) as caught:
        MqttLink(MqttConfig(**changed), EchoInbox(), CountingAdmin())
    assert key in caught.value.message
    assert caught.value.hint


# What no well-behaved broker does: a server of a few bytes.

CONNACK = bytes.fromhex("2003000000")


class Wire:
    """One connection, from the broker's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def packet(self) -> tuple[int, bytes]:
        kind = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, await self._reader.readexactly(length)

    async def accept(self, *, suback: int = 1) -> None:
        """CONNECT, SUBSCRIBE and what answers them."""
        assert (await self.packet())[0] == 0x10
        self.writer.write(CONNACK)
        kind, body = await self.packet()
        assert kind == 0x82
        self.writer.write(b"\x90\x04" + body[:2] + b"\x00" + bytes([suback]))

    async def published(self) -> tuple[str, bytes, bytes]:
        """Topic, packet id and the rest of the next PUBLISH."""
        kind, body = await self.packet()
        if kind == 0xE0:
            raise ConnectionError("disconnected")
        assert kind & 0xF0 == 0x30, kind
        size = struct.unpack_from(">H", body)[0]
        return body[2 : 2 + size].decode(), body[2 + size : 4 + size], body[4 + size :]

    def puback(self, packet_id: bytes, reason: int = 0) -> None:
        self.writer.write(b"\x40\x03" + packet_id + bytes([reason]))


@asynccontextmanager
async def fake_broker(*scripts) -> AsyncIterator[int]:
    """Runs one script for each connection; the last for all that follow."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        script = scripts[min(count, len(scripts) - 1)]
        count += 1
        try:
            await script(Wire(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def well(wire: Wire) -> None:
    """A broker that behaves."""
    await wire.accept()
    while True:
        kind, body = await wire.packet()
        if kind & 0xF0 == 0x30:
            size = struct.unpack_from(">H", body)[0]
            wire.puback(body[2 + size : 4 + size])


async def test_connect_announces_what_we_keep_and_take():
    seen: list[bytes] = []

    async def look(wire: Wire) -> None:
        seen.append((await wire.packet())[1])

    async with fake_broker(look, well) as port, linked(config(port, receive_maximum=7, session_expiry_s=600)):
        connect = seen[0]
    flags = connect[7]
    assert not flags & 0x02  # the session goes on
    assert flags & 0x3C == 0x2C  # a will at QoS 1, retained
    length = connect[10]
    properties = connect[11 : 11 + length]
    assert b"\x11" + struct.pack(">I", 600) in properties
    assert b"\x21" + struct.pack(">H", 7) in properties
    assert b"\x27" + struct.pack(">I", 1_048_576) in properties


async def test_a_refused_subscription_is_no_connection(caplog: pytest.LogCaptureFixture):
    async def refuse(wire: Wire) -> None:
        await wire.accept(suback=0x87)
        await wire.packet()

    async with fake_broker(refuse, well) as port, linked(config(port)):
        assert "refuses the subscription to lineside/v1/fault/#" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("frame", ["3201", "320100", "ffffffffff", "00", "f000", "400100"])
async def test_frames_that_are_none_end_the_connection_and_not_the_link(frame: str):
    async def garble(wire: Wire) -> None:
        await wire.accept()
        wire.writer.write(bytes.fromhex(frame))
        await wire.writer.drain()
        wire.writer.write_eof()
        while True:
            await wire.packet()

    async with fake_broker(garble, well) as port, linked(config(port), wait=False) as parts:
        await until(lambda: parts.admin.counters["mqtt_connections"] >= 2)
        await until_connected(parts.link)


async def flood(wire: Wire, count: int) -> None:
    """Far more messages at once than it was told to send."""
    await wire.accept()
    for number in range(1, count + 1):
        topic = b"\x00\x13lineside/v1/fault/a"
        body = topic + struct.pack(">H", number) + b"\x00" + b"{}"
        wire.writer.write(b"\x32" + bytes([len(body)]) + body)
        await wire.writer.drain()
    while True:
        await wire.packet()


async def test_a_broker_that_floods_is_read_no_faster_than_its_messages_are_stored():
    """Mosquitto 2.0 does so with all that waited while the daemon was away: cut off, it would begin anew."""
    inbox = EchoInbox(stores=None)
    most = 2 + connection_module.OVERSHOOT
    async with (
        fake_broker(lambda wire: flood(wire, 500)) as port,
        linked(config(port, receive_maximum=2), inbox, wait=False) as parts,
    ):
        stored = 0
        while stored < 500:
            await inbox.until(lambda: len(inbox.incoming) > stored)
            assert len(inbox.incoming) - stored <= most
            for on_stored in inbox.on_stored[stored : (stored := len(inbox.on_stored))]:
                on_stored()
        assert parts.admin.counters["mqtt_connections"] == 1


async def test_a_broker_that_floods_is_cut_off_where_nothing_can_be_stored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection_module, "STORE_S", 0.2)
    async with (
        fake_broker(lambda wire: flood(wire, 5000), well) as port,
        linked(config(port, receive_maximum=2), EchoInbox(stores=None), wait=False) as parts,
    ):
        await until(lambda: parts.admin.counters["mqtt_connections"] >= 2)
        await until_connected(parts.link)
        assert len(parts.inbox.incoming) == 2 + connection_module.OVERSHOOT


async def test_in_a_session_that_goes_on_answers_do_not_wait_for_what_the_broker_kept():
    """It sends all of that before its SUBACK, which never comes here."""
    heard: list[str] = []

    async def go_on(wire: Wire) -> None:
        assert (await wire.packet())[0] == 0x10
        wire.writer.write(CONNACK[:2] + b"\x01" + CONNACK[3:])
        assert (await wire.packet())[0] == 0x82
        while True:
            topic, packet_id, _ = await wire.published()
            heard.append(topic)
            wire.puback(packet_id)

    inbox = EchoInbox()
    async with fake_broker(go_on) as port, linked(config(port), inbox) as parts:
        inbox.put(OutgoingAnswer(1, "lineside/v1/diagnosis/a", b"x", b"", True, None))
        await inbox.until(lambda: inbox.done == [1])
        assert parts.link.connected
        assert heard == [STATUS, "lineside/v1/diagnosis/a"]


async def test_only_a_window_of_answers_is_on_its_way():
    seen: list[bytes] = []
    go = anyio.Event()

    async def slow(wire: Wire) -> None:
        await wire.accept()
        _, status, _ = await wire.published()
        wire.puback(status)
        while len(seen) < connection_module.WINDOW:
            seen.append((await wire.published())[1])
        with anyio.move_on_after(0.2):
            await wire.published()
            seen.append(b"too many")
        go.set()
        for packet_id in seen:
            wire.puback(packet_id)
        while True:
            wire.puback((await wire.published())[1])

    inbox = EchoInbox()
    async with fake_broker(slow) as port, linked(config(port), inbox):
        for row in range(1, 41):
            inbox.put(OutgoingAnswer(row, "lineside/v1/diagnosis/a", b"x", b"", True, None))
        await go.wait()
        assert len(seen) == connection_module.WINDOW
        await inbox.until(lambda: len(inbox.done) == 40)


def refusing(refuses, heard):
    """A broker that answers each topic and payload with what `refuses` says, but the status."""

    async def script(wire: Wire) -> None:
        await wire.accept()
        while True:
            topic, packet_id, _ = await wire.published()
            if topic.startswith("lineside/v1/status"):
                wire.puback(packet_id)
                continue
            heard.append(topic)
            wire.puback(packet_id, refuses(topic))

    return script


async def test_an_answer_that_is_refused_for_now_is_tried_again_over_the_same_connection(monkeypatch):
    monkeypatch.setattr("lineside.transport.mqtt.refusals.FIRST_S", 0.1)
    heard: list[str] = []
    corrected: list[bool] = []
    inbox = EchoInbox()
    script = refusing(lambda topic: 0x87 if topic == "bad" and not corrected else 0, heard)
    async with fake_broker(script) as port, linked(config(port), inbox) as parts:
        for row in range(1, 41):
            inbox.put(OutgoingAnswer(row, "bad", b"x", b"", True, None))
        inbox.put(OutgoingAnswer(41, "good", b"x", b"", True, None))
        await inbox.until(lambda: inbox.done == [41])
        await until(lambda: len(set(inbox.refusals)) == 40)
        await anyio.sleep(0.3)
        # A window of them was on its way; the others wait for one that is tried now and then.
        assert len(heard) <= connection_module.WINDOW + 10
        corrected.append(True)
        await inbox.until(lambda: len(inbox.done) == 41)
        assert inbox.calls == 1
        assert parts.admin.counters["mqtt_connections"] == 1
    assert not inbox.unpublished


@pytest.mark.parametrize(("reason", "times"), [(0x97, 3), (0x99, 1)])
async def test_what_the_broker_may_take_later_is_tried_again_and_what_it_never_takes_is_not(
    monkeypatch, reason: int, times: int
):
    monkeypatch.setattr("lineside.transport.mqtt.refusals.FIRST_S", 0.05)
    heard: list[str] = []
    inbox = EchoInbox()
    async with fake_broker(refusing(lambda _: reason, heard)) as port, linked(config(port), inbox):
        inbox.put(OutgoingAnswer(1, "a", b"x", b"", True, None))
        with anyio.move_on_after(1):
            while len(heard) < times:
                await anyio.sleep(0.02)
            await anyio.sleep(0.3)
    assert (len(heard) >= times) if times > 1 else (len(heard) == 1)


async def test_stop_waits_for_what_is_on_its_way():
    order: list[str] = []

    async def late(wire: Wire) -> None:
        await wire.accept()
        _, status, _ = await wire.published()
        wire.puback(status)
        topic, answer, _ = await wire.published()
        order.append(topic)
        taken.set()
        topic, status, rest = await wire.published()
        order.append(rest.partition(b'"status":"')[2][:7].decode())
        wire.puback(answer)
        wire.puback(status)
        kind, _ = await wire.packet()
        order.append(hex(kind))

    taken = anyio.Event()
    inbox = EchoInbox()
    async with fake_broker(late) as port:
        async with linked(config(port), inbox):
            inbox.put(OutgoingAnswer(1, "response/x", b"x", b"", True, None))
            await taken.wait()
            assert inbox.done == []
        assert inbox.done == [1]
        assert order == ["response/x", "stopped", "0xe0"]


async def test_nagle_is_off_and_the_thread_ends_with_the_link(plain: Broker):
    async with linked(config(plain.port)) as parts:
        sock = parts.link._connection._client.socket()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert any(thread.name.startswith("paho") for thread in threading.enumerate())
    assert not any("lineside" in thread.name for thread in threading.enumerate())


async def test_a_broker_that_ends_the_connection_says_why(caplog: pytest.LogCaptureFixture):
    async def end(wire: Wire) -> None:
        await wire.accept()
        wire.writer.write(bytes.fromhex("e0068e041f000178"))  # session taken over: x
        await wire.packet()

    async with fake_broker(end, well) as port, linked(config(port), wait=False) as parts:
        await until(lambda: "client id in use" in caplog.text)
        await until_connected(parts.link)
