"""Fuzzing of a running daemon: MQTT packets, topics, properties and payloads, and bytes by gRPC."""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import time
from pathlib import Path

from lineside.errors import LinesideError
from tests.support import http2
from tests.support.daemon import DEMO, Daemon
from tests.support.fuzzing import mutated

BATCH = 100
GROWTH_KB = 80_000
BACK_S = 20.0
METHODS = (
    "/lineside.v1.DiagnosisService/Diagnose",
    "/lineside.v1.DiagnosisService/DiagnoseStream",
    "/lineside.v1.FeedbackService/GiveFeedback",
    "/lineside.v1.GenerationService/Generate",
    "/lineside.v1.AdminService/GetStatus",
    "/lineside.v1.AdminService/SetPower",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
PROPERTY_IDS = (0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26)
REPORT = {"dev": {"id": "L1/CD-07", "vendor": "Northmoor Drives"}, "alarm": {"code": "F012"}}


class Live:
    """One daemon by rules, and what it has to keep to after each batch."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        gateways = [str(path) for path in sorted((DEMO / "gateways").glob("*.toml"))]
        mqtt = {"mappings": gateways, "max_pending_reports": 500}
        self.daemon = Daemon(directory, Path("none"), diagnosis={"mode": "rules"}, mqtt=mqtt)
        self.daemon.import_demo()
        self.daemon.start()
        self.chance = chance
        self._begun_kb = self.grpc_ended_it = 0
        self._reports = [path.read_bytes() for path in sorted((DEMO / "faults").glob("*.json"))]

    def fuzz(self, protocol: str, seconds: float) -> int:
        """So many inputs were taken. Raises AssertionError where the daemon is not as before."""
        send = self._mqtt if protocol == "mqtt" else self._grpc
        end_s, runs = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            for _ in range(BATCH):
                send()
            runs += BATCH
            self._check()
        return runs

    def _check(self) -> None:
        daemon = self.daemon
        self._restart_where_grpc_ended_it()
        assert daemon.process.poll() is None, daemon.log.read_text("utf-8", "replace")[-2000:]
        begun_s = time.monotonic()
        self._until_answered()
        answer = daemon.ask({**REPORT, "dev": {**REPORT["dev"], "id": "checked"}, "id": str(begun_s)})
        assert answer["status"] in ("ok", "abstain"), answer
        assert time.monotonic() - begun_s < 20
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        resident_kb = int(status.partition("VmRSS:")[2].split()[0])
        self._begun_kb = self._begun_kb or resident_kb
        assert resident_kb - self._begun_kb < GROWTH_KB, f"{self._begun_kb} kB have become {resident_kb}"

    def _restart_where_grpc_ended_it(self) -> None:
        """A call whose name is no text ends grpc's server, and now and then the process, in its own code."""
        if self.daemon.process.poll() == -signal.SIGSEGV:
            assert "codec can't decode byte" in self.daemon.log.read_text("utf-8", "replace")[-20_000:]
            self.grpc_ended_it += 1
            self.daemon.start()

    def _until_answered(self) -> None:
        """gRPC and MQTT may have ended their connections, and have so long to come back."""
        end_s = time.monotonic() + BACK_S
        while True:
            try:
                if self.daemon.status().broker_connected:
                    return
            except LinesideError:
                pass
            assert time.monotonic() < end_s, "it does not come back"
            self._restart_where_grpc_ended_it()
            time.sleep(0.2)

    def _mqtt(self) -> None:
        packets = [_connect(), self._publish(), self._publish()]
        content = b"".join(packets)
        if self.chance.random() < 0.5:
            content = packets[0] + mutated([content[len(packets[0]) :]], self.chance)
        elif self.chance.random() < 0.2:
            content = mutated([content], self.chance)
        self._send(self.daemon.mqtt_port, content, 0.002)

    def _publish(self) -> bytes:
        chance = self.chance
        device = chance.choice(("L1/CD-07", "%2F%zz", "a" * 600, "\u202e/\u0000", "../..", "+", "x//y"))
        verb = chance.choice(("fault", "fault", "feedback", "power/set", "diagnosis"))
        topic = f"lineside/v1/{verb}/{device}"
        payload = (
            mutated(self._reports, chance)
            if chance.random() < 0.8
            else chance.randbytes(chance.randrange(3000))
        )
        properties = b"".join(self._property() for _ in range(chance.choice((0, 0, 1, 2, 5))))
        body = _text(topic.encode()) + struct.pack(">H", chance.randrange(1, 65_536))
        body += _varint(len(properties)) + properties + payload
        return bytes([0x32 | chance.choice((0, 0, 0, 1, 8))]) + _varint(len(body)) + body

    def _property(self) -> bytes:
        chance, kind = self.chance, self.chance.choice(PROPERTY_IDS)
        text = _text(
            chance.choice((b"lineside/reply/x", b"#", b"", b"lineside/v1/fault/a", chance.randbytes(20)))
        )
        match kind:
            case 0x01:
                return bytes([kind, chance.randrange(3)])
            case 0x02:
                return struct.pack(">BI", kind, chance.choice((0, 1, 60, 0xFFFFFFFF)))
            case 0x0B:
                return bytes([kind]) + _varint(chance.randrange(300))
            case 0x23:
                return struct.pack(">BH", kind, chance.randrange(20))
            case 0x26:
                return bytes([kind]) + text + text
        return bytes([kind]) + text

    def _grpc(self) -> None:
        chance = self.chance
        content = b""
        for stream in range(1, 2 * chance.randrange(1, 6), 2):
            message = self._message(stream)
            more = [("x-" + "a" * chance.randrange(30), "b" * chance.choice((1, 500, 9000)))]
            content += http2.call(chance.choice(METHODS), stream, *more[: chance.randrange(2)])
            content += http2.message(message, stream, end=chance.random() < 0.7)
            if chance.random() < 0.3:
                content += http2.frame(
                    chance.randrange(12), chance.randbytes(chance.randrange(40)), stream=stream
                )
            if chance.random() < 0.3:
                content += http2.frame(http2.RST_STREAM, struct.pack(">I", http2.CANCEL), stream=stream)
        if chance.random() < 0.6:
            content = mutated([content], chance)
        head = http2.PREFACE + http2.frame(http2.SETTINGS) if chance.random() < 0.95 else b""
        self._send(self.daemon.grpc_port, head + content, 0.002)

    def _message(self, stream: int) -> bytes:
        """A report in the field where it belongs, or another; a third of them cut short."""
        chance = self.chance
        said = json.dumps({**REPORT, "id": str(stream)}).encode()
        said = said if chance.random() < 0.5 else mutated(self._reports, chance)
        message = chance.choice((b"\x0a", b"\x12")) + _varint(len(said)) + said
        message = message if chance.random() < 0.7 else chance.randbytes(60)
        return message if chance.random() < 0.67 else message[: chance.randrange(len(message) + 1)]

    def _send(self, port: int, content: bytes, wait_s: float) -> None:
        try:
            link = socket.create_connection(("127.0.0.1", port), 10)
        except ConnectionError:
            self._until_answered()
            return
        with link:
            http2.send_all(link, content)
            http2.ends(link, wait_s)


def _connect() -> bytes:
    body = b"\0\x04MQTT\x05\x02\0\x3c\0\0\x00"
    return b"\x10" + _varint(len(body)) + body


def _text(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def _varint(value: int) -> bytes:
    coded = bytearray()
    while True:
        value, low = divmod(value, 128)
        coded.append(low | (128 if value else 0))
        if not value:
            return bytes(coded)
