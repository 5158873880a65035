"""A plant that reports faults over MQTT and gRPC, without end, and listens: real clients with sessions."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time

import grpc
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.v1 import common_pb2, diagnosis_pb2, diagnosis_pb2_grpc, generation_pb2, generation_pb2_grpc
from tests.support.ledger import Ledger

REPLY = "lineside/reply/plant"
DEVICES = 100_000
CODES = ("F012", "F001", "F007", "F030")
CRITICAL = 950
# One attempt, and all of them together.
CALL_S, ASK_S = 20.0, 60.0
KEPT_KEYS = 50
SESSION_S = 86_400


def report(number: int, severity: int, deadline_ms: int | None = None) -> dict[str, object]:
    """Of a device of its own, so that no two are one occurrence or one group."""
    said: dict[str, object] = {
        "id": f"r{number}",
        "dev": {"id": f"L{number % DEVICES}/CD-07", "vendor": "Northmoor Drives"},
        "alarm": {"code": CODES[number % len(CODES)], "text": "Motor overtemperature", "sev": severity},
        "values": [{"n": "motor_temp", "v": 90 + number % 30, "u": "Cel", "hi": 95}],
    }
    return said if deadline_ms is None else {**said, "deadline_ms": deadline_ms}


def session(client_id: str, port: int) -> Client:
    """A client whose session the broker keeps; it connects again by itself, and publishes again."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5)
    client.reconnect_delay_set(0.1, 0.5)
    client.max_inflight_messages_set(100)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_S
    client.connect_timeout = 2.0
    client.connect_async("127.0.0.1", port, keepalive=10, clean_start=False, properties=properties)
    return client


class Listener:
    """Hears every answer at QoS 1, in a session that outlives its connections."""

    def __init__(self, port: int, ledger: Ledger, reply: str = REPLY) -> None:
        self._ledger = ledger
        self.heard = threading.Event()
        self._client = session(f"listener-{reply.rpartition('/')[2]}", port)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{reply}/#", qos=1)
        self._client.on_subscribe = lambda *_: self.heard.set()
        self._client.on_message = self._on_message
        self._client.loop_start()

    def _on_message(self, _client, _data, message) -> None:
        self._ledger.heard += 1
        self._ledger.answered(message.properties.CorrelationData.decode(), message.payload)

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


class Publisher:
    """One gateway: publishes reports of many devices; what is not acknowledged is published again."""

    def __init__(self, name: str, port: int, ledger: Ledger, reply: str = REPLY) -> None:
        self._ledger = ledger
        self._reply = f"{reply}/{name}"
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._early: set[int] = set()
        self._client = session(f"gateway-{name}", port)
        self._client.on_publish = self._on_publish
        self._client.loop_start()

    def publish(self, name: str, said: dict[str, object]) -> None:
        """Send, or send again."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._reply
        properties.CorrelationData = name.encode()
        topic = f"lineside/v1/fault/{said['dev']['id']}"
        # Not under the lock: paho calls back under one that `publish` takes, too.
        info = self._client.publish(topic, json.dumps(said).encode(), qos=1, properties=properties)
        with self._lock:
            accepted = info.mid in self._early
            self._early.discard(info.mid)
            if not accepted:
                self._names[info.mid] = name
        if accepted:
            self._ledger.accepted(name)

    def _on_publish(self, _client, _data, mid, reason, _properties) -> None:
        if reason.is_failure:
            return
        with self._lock:
            name = self._names.pop(mid, None)
            if name is None:
                self._early.add(mid)
        if name is not None:
            self._ledger.accepted(name)

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


class Asker:
    """A gRPC client that asks under an idempotency key until it is answered, and now and then once more."""

    def __init__(self, name: str, address: str, ledger: Ledger, rate: float, *, generate: bool) -> None:
        self._name, self._address, self._ledger, self._rate = name, address, ledger, rate
        self._ask = self._generate if generate else self._diagnose
        self._stopping = threading.Event()
        self._kept: list[tuple[str, int]] = []
        self._channel = self._open()
        self._thread = threading.Thread(target=self._run, name=f"asker-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the call that runs be answered, then leave."""
        self._stopping.set()
        self._thread.join()
        self._channel.close()

    def _open(self) -> grpc.Channel:
        options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
        return grpc.insecure_channel(self._address, options)

    def _run(self) -> None:
        for number in itertools.count():
            if self._stopping.wait(random.expovariate(self._rate)):
                return
            key = f"{self._name}-{number}"
            self._ledger.sent(key)
            self._until_answered(key, number)
            self._kept = [*self._kept[-KEPT_KEYS:], (key, number)]
            if number % 4 == 0:
                self._until_answered(*random.choice(self._kept))

    def _until_answered(self, key: str, number: int) -> None:
        end_s = time.monotonic() + ASK_S
        while time.monotonic() < end_s:
            try:
                answer = self._ask(key, number)
            except grpc.RpcError:
                time.sleep(0.1)
                continue
            self._ledger.accepted(key)
            self._ledger.answered(key, answer)
            return

    def _diagnose(self, key: str, number: int) -> bytes:
        said = json.dumps(report(number, 400)).encode()
        request = diagnosis_pb2.DiagnoseRequest(options=_options(key), report_json=said)
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(self._channel)
        return stub.Diagnose(request, timeout=CALL_S).diagnosis_json

    def _generate(self, key: str, number: int) -> bytes:
        sampling = generation_pb2.Sampling(max_tokens=24, temperature=1.0)
        prompt = f"Machine {number} stopped because"
        request = generation_pb2.GenerateRequest(options=_options(key), prompt=prompt, sampling=sampling)
        stub = generation_pb2_grpc.GenerationServiceStub(self._channel)
        events = stub.Generate(request, timeout=CALL_S)
        return json.dumps("".join(event.token.text for event in events)).encode()


class Plant:
    """Reports at a rate, over several gateways; `rate` reports a second, one in ten critical.

    `first`: the number of the first one. What is reported again after the journal's window is a new report.
    """

    def __init__(
        self, port: int, ledger: Ledger, *, rate: float, deadline_ms: int, gateways: int = 2, first: int = 0
    ) -> None:
        self._ledger, self.rate, self._deadline_ms = ledger, rate, deadline_ms
        self._numbers = itertools.count(first)
        self.listener = Listener(port, ledger)
        self._gateways = [Publisher(str(number), port, ledger) for number in range(gateways)]
        self._said: dict[str, tuple[Publisher, dict[str, object]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plant", daemon=True)
        assert self.listener.heard.wait(20), "no subscription"

    def start(self) -> None:
        """Report from now on."""
        self._thread.start()

    def again(self, name: str) -> None:
        """Publish a report once more, as a device does that heard no answer."""
        gateway, said = self._said[name]
        gateway.publish(name, said)

    def ask_again(self, since_s: float) -> None:
        """Devices whose report was acknowledged `since_s` ago, and that heard no answer, publish it again."""
        for name in self._ledger.waiting(since_s):
            if name in self._said:
                self.again(name)

    def recent(self, count: int) -> list[str]:
        """Some of the latest reports."""
        latest = list(self._said)[-100:]
        return random.sample(latest, min(count, len(latest)))

    def settle(self, idle_s: float = 5.0, again_s: float | None = None) -> None:
        """Report nothing more, and wait until all are answered, or nothing has come for `idle_s`.

        `again_s`: devices that heard no answer for so long publish their report once more.
        """
        self.quiet()
        answers, quiet_s = -1, time.monotonic()
        while self._ledger.waiting() or self._ledger.unacknowledged():
            totals = self._ledger.totals()
            if totals["answers"] != answers:
                answers, quiet_s = totals["answers"], time.monotonic()
            if time.monotonic() - quiet_s > idle_s:
                return
            if again_s is not None:
                self.ask_again(again_s)
            time.sleep(0.2 if again_s is None else again_s / 2)

    def quiet(self) -> None:
        """Report nothing more; keep listening."""
        self._stopping.set()
        self._thread.join(10)

    def stop(self) -> None:
        """Leave."""
        self.quiet()
        for client in (*self._gateways, self.listener):
            client.stop()

    def _run(self) -> None:
        due_s = time.monotonic()
        for number in self._numbers:
            due_s += random.expovariate(self.rate)
            if self._stopping.wait(max(due_s - time.monotonic(), 0)):
                return
            critical = number % 10 == 0
            said = report(number, CRITICAL if critical else 400, self._deadline_ms if critical else None)
            name, gateway = f"m{number}", self._gateways[number % len(self._gateways)]
            self._said[name] = (gateway, said)
            self._said.pop(f"m{number - 20_000}", None)
            self._ledger.sent(name, critical)
            gateway.publish(name, said)


def _options(key: str) -> common_pb2.RequestOptions:
    return common_pb2.RequestOptions(idempotency_key=key)
