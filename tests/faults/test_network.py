"""Peers that misbehave: gone without a word, deaf, thousands, or no speakers of the protocol."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults.conftest import broker_of, report, until
from tests.integration.transport.mqtt_parts import device
from tests.support import http2
from tests.support.daemon import Daemon
from tests.support.manager import listening
from tests.support.silence import fall_silent

from lineside.errors import LinesideError
from lineside.transport.grpc.server import MAX_CONNECTIONS
from lineside.v1 import diagnosis_pb2, generation_pb2

DIAGNOSE = "/lineside.v1.DiagnosisService/Diagnose"
GENERATE = "/lineside.v1.GenerationService/Generate"
TOPIC = "lineside/v1/diagnosis/L1/CD-07"
GROWTH_KB = 60_000
CONNECTIONS = int(os.environ.get("LINESIDE_TEST_CONNECTIONS", "800"))
# The daemon's own times are a minute and more.
SHORT_TIMES = """\
from lineside.transport.grpc import server
real = server.server_options
TIMES = ("keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms", "server_handshake_timeout_ms")
SHORT = {f"grpc.{name}": 500 for name in TIMES}
server.server_options = lambda config: [(name, SHORT.get(name, value)) for name, value in real(config)]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One by rules, for those who only bother it."""
    made = Daemon(tmp_path_factory.mktemp("plant"), Path("none"), diagnosis={"mode": "rules"})
    made.import_demo()
    made.start()
    yield made
    made.end()


def resident_kb(daemon: Daemon) -> int:
    """Memory that the daemon has now."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def answers(daemon: Daemon) -> bool:
    """Whether it does by gRPC, now."""
    with contextlib.suppress(LinesideError):
        return bool(daemon.status().state == "ready")
    return False


@pytest.fixture
def unharmed(daemon):
    """After the test the daemon answers as before, and has not grown."""
    before_kb = resident_kb(daemon)
    yield daemon
    assert daemon.process.poll() is None
    begun_s = time.monotonic()
    assert daemon.ask(report(f"r{begun_s}"))["status"] == "ok"
    assert time.monotonic() - begun_s < 5
    assert resident_kb(daemon) - before_kb < GROWTH_KB


def test_a_broker_that_is_killed_is_started_again_and_the_report_is_answered(plant):
    daemon = plant()
    daemon.start()
    os.kill(broker_of(daemon), signal.SIGKILL)
    until(lambda: "has died and is started again" in daemon.log.read_text())
    until(lambda: daemon.status().broker_connected)
    assert daemon.ask(report("after"))["status"] == "ok"


def test_a_broker_that_stands_still_is_left_after_the_keepalive_and_found_again(plant):
    # The shortest keepalive that can be configured: what is tested takes twice that.
    daemon = plant(mqtt={"keepalive_s": 5})
    daemon.start()
    broker = broker_of(daemon)
    with daemon.subscribe(TOPIC) as subscription, ThreadPoolExecutor(1) as pool:
        os.kill(broker, signal.SIGSTOP)
        try:
            meanwhile = pool.submit(daemon.publish, report("meanwhile"))
            until(lambda: not daemon.status().broker_connected)
        finally:
            os.kill(broker, signal.SIGCONT)
        meanwhile.result()
        assert json.loads(subscription.wait()[0])["id"] == "meanwhile"
    assert daemon.status().broker_connected
    assert broker_of(daemon) == broker, "it was not taken for dead"


class Cable:
    """Carries TCP to a port, until it is pulled; who connects after that gets a new one."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.links: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def pull(self) -> None:
        """Both ends of what is connected hear nothing any more."""
        for link in self.links:
            fall_silent(link)

    def close(self) -> None:
        for link in (self._listener, *self.links):
            link.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self.links += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := near.recv(65_536):
                far.sendall(content)


def test_a_broker_that_vanished_is_left_after_the_keepalive_and_found_again(plant, own_broker):
    cable = Cable(own_broker)
    try:
        # The shortest keepalive that can be configured: what is tested takes twice that.
        daemon = plant(mqtt={"broker": "external", "port": cable.port, "keepalive_s": 5})
        daemon.start()
        cable.pull()
        until(lambda: not daemon.status().broker_connected, 15)
        until(lambda: daemon.status().broker_connected)
        daemon.mqtt_port = own_broker
        assert daemon.ask(report("after"))["status"] == "ok"
    finally:
        cable.close()


def test_a_client_that_vanished_is_found_by_pings_and_its_connection_freed(plant, hooked):
    hooked(SHORT_TIMES)
    daemon = plant()
    daemon.start()
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    links = [http2.connect(daemon.grpc_port) for _ in range(20)]
    until(lambda: len(list(descriptors.iterdir())) > before + len(links) // 2)
    for link in links[::2]:
        fall_silent(link)  # the others acknowledge all that comes and answer nothing, as a program that hangs
    until(lambda: len(list(descriptors.iterdir())) <= before + 1)


def test_clients_that_never_read_hold_no_slot_and_end_at_their_deadline(plant, tiny_fp32_bundle):
    daemon = plant(bundle=tiny_fp32_bundle, diagnosis={"mode": "auto"}, engine={"slots": 2})
    daemon.start()
    request = generation_pb2.GenerateRequest(prompt="a", sampling=generation_pb2.Sampling(max_tokens=20))
    links = []
    for _ in range(6):
        link = http2.connect(daemon.grpc_port, settings=http2.window(0))
        link.sendall(
            http2.call(GENERATE, 1, ("grpc-timeout", "3S")) + http2.message(request.SerializeToString(), 1)
        )
        links.append(link)
    until(lambda: daemon.status().counters.get("grpc_calls", 0) >= 6)
    until(lambda: daemon.status().engine.running == daemon.status().engine.waiting == 0)
    assert daemon.ask(report("beside"))["status"] == "ok"
    link = http2.connect(daemon.grpc_port)
    link.sendall(http2.call(GENERATE, 1) + http2.message(request.SerializeToString(), 1))
    last = next(f for f in http2.frames(link) if f.kind == http2.HEADERS and f.flags & http2.END_STREAM)
    assert b"grpc-status" in last.payload
    for deaf in links:
        ended = next(f for f in http2.frames(deaf) if f.kind in (http2.RST_STREAM, http2.HEADERS))
        assert ended.stream == 1


def test_connections_are_bounded_and_who_says_nothing_makes_room(tmp_path, plant, hooked, monkeypatch):
    """800 by default; LINESIDE_TEST_CONNECTIONS=10000 for the long form."""
    hooked(SHORT_TIMES)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    with listening(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        daemon = plant()
        daemon.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, CONNECTIONS + 500), hard))
        before_kb = resident_kb(daemon)
        links = []
        try:
            address = ("127.0.0.1", daemon.grpc_port)
            links.extend(socket.create_connection(address, 10) for _ in range(CONNECTIONS))
            held = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
            assert held < MAX_CONNECTIONS + 100
            assert daemon.ask(report("beside"))["status"] == "ok"
            manager.drop()
            assert manager.wait_for("WATCHDOG", 5) == "1"
            until(lambda: answers(daemon), 10)
            assert resident_kb(daemon) - before_kb < GROWTH_KB
            assert "File descriptor limit" not in daemon.log.read_text()
        finally:
            for link in links:
                link.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# MQTT 3.1.1, a session that ends with its connection, no client id of its own; and the answer to it.
ANYONE, WELCOME = b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", b"\x20\x02\0\0"


def welcomed(port: int) -> socket.socket | None:
    """A connection that the broker has taken; None where it closed it."""
    link = socket.create_connection(("127.0.0.1", port), 10)
    with contextlib.suppress(ConnectionError):
        link.sendall(ANYONE)
        if link.recv(len(WELCOME)) == WELCOME:
            return link
    link.close()
    return None


def test_the_broker_takes_as_many_as_it_may_closes_one_too_many_and_the_others_are_answered(plant):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    links: list[socket.socket] = []
    try:
        daemon = plant()
        daemon.start()
        config = (daemon.directory / "state/mosquitto/mosquitto.conf").read_text()
        most = int(config.partition("max_connections ")[2].split()[0])
        limits = Path(f"/proc/{broker_of(daemon)}/limits").read_text()
        assert most + 64 <= int(limits.partition("Max open files")[2].split()[0]), "its files need some, too"
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, most + 500), hard))
        with device(daemon.mqtt_port, TOPIC) as client:
            while len(links) <= most and (link := welcomed(daemon.mqtt_port)):
                links.append(link)
            # The rest of them are the device's and the daemon's own.
            assert most - 5 < len(links) < most
            assert welcomed(daemon.mqtt_port) is None
            client.publish("lineside/v1/fault/L1/CD-07", json.dumps(report("full")).encode())
            assert json.loads(client.wait(seconds=20).payload)["status"] == "ok"
            assert daemon.status().broker_connected
        for link in links[:10]:
            link.close()
        assert daemon.ask(report("after", "F007"))["status"] == "ok", "who comes again later is taken"
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resets(number: int) -> bytes:
    """Calls that are taken back at once."""
    reset = struct.pack(">I", http2.CANCEL)
    return b"".join(
        http2.call(DIAGNOSE, stream)
        + http2.message(b"x" * 100, stream, end=False)
        + http2.frame(http2.RST_STREAM, reset, stream=stream)
        for stream in range(1, 2 * number, 2)
    )


def endless_block(number: int) -> bytes:
    """A header block that goes on and on."""
    more = http2.frame(http2.CONTINUATION, http2.block(("x-a", "y" * 16_000)), stream=1)
    return http2.frame(http2.HEADERS, http2.block((":method", "POST")), stream=1) + more * number


FLOODS = {
    "rapid reset": lambda: resets(5000),
    "endless headers": lambda: endless_block(1000),
    "many headers": lambda: b"".join(
        http2.call(DIAGNOSE, stream, *[(f"x-{n}", "y") for n in range(400)]) for stream in range(1, 1001, 2)
    ),
    "pings": lambda: http2.frame(http2.PING, bytes(8)) * 50_000,
    "settings": lambda: http2.frame(http2.SETTINGS, struct.pack(">HI", 4, 100)) * 20_000,
    "empty data": lambda: http2.call(DIAGNOSE, 1) + http2.frame(http2.DATA, stream=1) * 50_000,
    "unknown frames": lambda: http2.frame(99, bytes(1000)) * 10_000,
    "window overflow": lambda: http2.frame(http2.WINDOW_UPDATE, struct.pack(">I", 0x7FFFFFFF)) * 2,
    "frame of 16 MiB": lambda: http2.frame(http2.DATA, bytes(100), stream=1, length=(1 << 24) - 1),
    "no preface": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": lambda: bytes(range(256)) * 4000,
    "header index of nothing": lambda: http2.frame(
        http2.HEADERS, b"\xff" * 100, flags=http2.END_HEADERS, stream=1
    ),
    "even stream": lambda: http2.call(DIAGNOSE, 2),
}


@pytest.mark.parametrize("name", FLOODS)
def test_hostile_http2_neither_ends_nor_fills_nor_stops_the_daemon(unharmed, name):
    with http2.connect(unharmed.grpc_port, greet=name not in ("no preface", "noise")) as link:
        http2.send_all(link, FLOODS[name]())
        http2.ends(link, 0.2)


VARINT_10 = b"\xff" * 9 + b"\x01"
MESSAGES = {
    "4 GiB that do not come": b"\0\xff\xff\xff\xff" + bytes(100),
    "unknown compression": b"\x01\0\0\0\x04abcd",
    "truncated protobuf": b"\0\0\0\0\x02\x0a\x7f",
    "huge varint": b"\0\0\0\0\x0b\x0a" + VARINT_10,
    "endless varint": b"\0\0\0\0\x0c\x0a" + b"\xff" * 11,
    "group without end": b"\0\0\0\x03\xe8" + b"\x0b" * 1000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_that_are_none_end_their_call_with_a_status(unharmed, name):
    with http2.connect(unharmed.grpc_port) as link:
        body = http2.frame(http2.DATA, MESSAGES[name], flags=http2.END_STREAM, stream=1)
        link.sendall(http2.call(DIAGNOSE, 1) + body)
        ended = next(
            f for f in http2.frames(link) if f.stream and (f.flags & 1 or f.kind == http2.RST_STREAM)
        )
        assert ended.stream == 1


def mqtt(kind: int, body: bytes, length: bytes | None = None) -> bytes:
    """A control packet; `length` as it says of itself, where that is not true."""
    return bytes([kind]) + (length if length is not None else bytes([len(body)])) + body


CONNECT = mqtt(0x10, b"\0\x04MQTT\x05\x02\0\x3c\0\0\x05fuzz1")
PACKETS = {
    "no packet": b"GET / HTTP/1.1\r\n\r\n",
    "reserved kind": b"\0\0" * 100,
    "length without end": mqtt(0x10, b"", b"\xff\xff\xff\xff\xff"),
    "256 MiB that do not come": mqtt(0x10, bytes(100), b"\xff\xff\xff\x7f"),
    "publish before connect": mqtt(0x32, b"\0\x01a\0\x01\0x"),
    "wildcard topic": CONNECT + mqtt(0x32, b"\0\x0flineside/v1/#/+\0\x01\0x"),
    "qos 3": CONNECT + mqtt(0x36, b"\0\x01a\0\x01\0x"),
    "bad property": CONNECT + mqtt(0x32, b"\0\x01a\0\x01\x02\xfe\xfex"),
    "utf-8 that is none": CONNECT + mqtt(0x32, b"\0\x04\xff\xfe\xc0\x80\0\x01\0x"),
    "acknowledges nothing": CONNECT + mqtt(0x40, b"\x12\x34") * 200,
}


# Payload format 2 is none; Mosquitto 2.0 passes it on all the same, at each connect again.
FORBIDDEN = CONNECT + mqtt(0x32, b"\0\x1elineside/v1/fault/L1/CD-07/bad" + b"\0\x01\x02\x01\x02{}")


def test_a_message_that_mqtt_forbids_does_not_keep_the_daemon_from_its_broker(unharmed):
    with socket.create_connection(("127.0.0.1", unharmed.mqtt_port), 5) as link:
        link.sendall(FORBIDDEN)
        until(lambda: "a message that MQTT forbids is given up" in unharmed.log.read_text())
    assert unharmed.status().broker_connected
    assert "connection was lost" not in unharmed.log.read_text()


@pytest.mark.parametrize("name", PACKETS)
def test_hostile_mqtt_ends_its_own_connection_alone(unharmed, name):
    with socket.create_connection(("127.0.0.1", unharmed.mqtt_port), 5) as link:
        http2.send_all(link, PACKETS[name])
        http2.ends(link, 0.1)
    assert unharmed.status().broker_connected


def test_a_call_whose_name_is_no_text_takes_grpc_away_for_a_moment_alone(daemon):
    with http2.connect(daemon.grpc_port) as link:
        link.sendall(http2.call(DIAGNOSE, 1).replace(b"Diagnose", b"Diagnos\x94") + http2.message(b"", 1))
        assert http2.ends(link, 5)

    until(lambda: answers(daemon), 5)
    assert daemon.ask(report("after"))["status"] == "ok"


def test_every_truncated_call_ends(unharmed):
    request = diagnosis_pb2.DiagnoseRequest(report_json=json.dumps(report("x")).encode()).SerializeToString()
    with http2.connect(unharmed.grpc_port) as link:
        for stream in range(1, 401, 2):
            link.sendall(
                http2.call(DIAGNOSE, stream) + http2.message(request[: stream % len(request)], stream)
            )
        link.settimeout(10)
        ended = set()
        for frame in http2.frames(link):
            refused = frame.kind == http2.RST_STREAM
            if refused or (frame.kind == http2.HEADERS and frame.flags & http2.END_STREAM):
                ended.add(frame.stream)
            if len(ended) == 200:
                break
        assert len(ended) == 200
