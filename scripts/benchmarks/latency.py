"""Everything but the model: an empty engine over gRPC beside a Triton server's echo, and what MQTT adds.

One client, one request at a time. Both servers are asked by the same client in the same protocol.
"""

from __future__ import annotations

import json
import queue
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import chart, peers
from benchmarks.daemon import Running, free_ports, running
from benchmarks.models import SMOLLM2, bundle_of
from benchmarks.options import Options
from benchmarks.record import ROOT, Record, in_turns, quantile
from lineside.open_inference import open_inference_pb2 as pb
from lineside.open_inference import open_inference_pb2_grpc
from lineside.v1 import diagnosis_pb2, diagnosis_pb2_grpc

ROUNDS, CALLS, REPORTS = 10, 200, 50
OURS, TRITON = "Lineside, empty engine", "pytriton, echo"
FAULT = ROOT / "demo" / "faults" / "overtemperature.en.json"


def run(options: Options) -> Record:
    """Both halves."""
    record = Record("latency")
    infer(options, record)
    diagnose(options, record)
    return record


def infer(options: Options, record: Record) -> None:
    """ModelInfer of a short text, in turns."""
    bundle = bundle_of(SMOLLM2, options.bundles.get(SMOLLM2.key)).path
    own, *ports = free_ports(4)
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.workers.empty", bundle, str(own)]
    triton: list[str | Path] = [options.triton_python(), peers.WORKERS / "triton.py", *map(str, ports)]
    with peers.Worker(command) as ours, peers.Worker(triton, {}) as theirs:
        record.facts |= {OURS: ours.told, TRITON: theirs.told}
        asks = {OURS: caller(own, "empty"), TRITON: caller(ports[0], "echo")}
        for ask in asks.values():
            block(ask, CALLS)  # connections and threads come to be
        turns = {name: (lambda _, ask=ask: block(ask, CALLS)) for name, ask in asks.items()}
        found = in_turns(options.rounds or ROUNDS, turns)
    samples = {name: [value for part in parts for value in part] for name, parts in found.items()}
    record.samples["infer_ms"] = samples
    p50 = {name: [statistics.median(part) for part in parts] for name, parts in found.items()}
    record.metrics |= {
        "grpc_p50_ms": statistics.median(samples[OURS]),
        "grpc_p99_ms": quantile(samples[OURS], 0.99),
        "grpc_p99_over_p50": quantile(samples[OURS], 0.99) / statistics.median(samples[OURS]),
        "pytriton_p50_ms": statistics.median(samples[TRITON]),
        "pytriton_p99_ms": quantile(samples[TRITON], 0.99),
        "grpc_p50_ratio_to_pytriton": statistics.median(
            one / other for one, other in zip(p50[OURS], p50[TRITON], strict=True)
        ),
    }
    record.charts["infer"] = chart.bars("ModelInfer, median and range of blocks", "ms", _bars(p50))


def diagnose(options: Options, record: Record) -> None:
    """The same report by rules, over gRPC and through the managed Mosquitto, in turns, on kept connections.

    Every report is an alarm of its own: one that is repeated over MQTT would not be diagnosed again.
    """
    settings: dict[str, dict[str, object]] = {
        "diagnosis": {"mode": "rules"},
        "mqtt": {"occurrence_s": 0, "group_ms": 0},
    }
    with (
        running(settings, manuals=True) as daemon,
        Mqtt(daemon) as mqtt,
        grpc.insecure_channel(daemon.address) as channel,
    ):
        report = json.loads(FAULT.read_text("utf-8"))
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)

        def over_grpc(payload: bytes) -> None:
            stub.Diagnose(diagnosis_pb2.DiagnoseRequest(report_json=payload), timeout=30)

        asks: dict[str, Callable[[bytes], None]] = {"gRPC": over_grpc, "MQTT": mqtt.ask}
        turns = {
            name: (lambda number, name=name: reports(asks[name], report, f"{name}{number}")) for name in asks
        }
        turns["gRPC"](-1)
        turns["MQTT"](-1)
        found = in_turns(options.rounds or ROUNDS, turns)
    record.samples["diagnosis_ms"] = found
    p50 = {name: [statistics.median(part) for part in parts] for name, parts in found.items()}
    whole = {name: [value for part in parts for value in part] for name, parts in found.items()}
    record.metrics |= {
        "diagnosis_grpc_p50_ms": statistics.median(whole["gRPC"]),
        "diagnosis_mqtt_p50_ms": statistics.median(whole["MQTT"]),
        "mqtt_added_p50_ms": statistics.median(b - a for a, b in zip(p50["gRPC"], p50["MQTT"], strict=True)),
    }
    record.charts["diagnosis"] = chart.bars(
        "A diagnosis by rules, median and range of blocks", "ms", _bars(p50)
    )


def caller(port: int, model: str) -> Callable[[], None]:
    """One ModelInfer on a connection that is kept."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),))
    stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    text = b"Motor overtemperature"
    shape = [1] if model == "empty" else [1, 1]
    tensor = pb.ModelInferRequest.InferInputTensor(name="text_input", datatype="BYTES", shape=shape)
    request = pb.ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[struct.pack("<I", len(text)) + text]
    )
    if model == "empty":
        sampling = pb.ModelInferRequest.InferInputTensor(
            name="sampling_parameters", datatype="BYTES", shape=[1]
        )
        value = json.dumps({"max_tokens": 1}).encode()
        request.inputs.append(sampling)
        request.raw_input_contents.append(struct.pack("<I", len(value)) + value)
    return lambda: _ignored(stub.ModelInfer(request, timeout=30))


def block(ask: Callable[[], None], calls: int) -> list[float]:
    """Milliseconds of each call."""
    found = []
    for _ in range(calls):
        begun_s = time.perf_counter()
        ask()
        found.append((time.perf_counter() - begun_s) * 1e3)
    return found


def reports(ask: Callable[[bytes], None], report: dict[str, Any], prefix: str) -> list[float]:
    """Milliseconds of each diagnosis; every report has an id of its own, or the store would answer it."""
    payloads = iter([json.dumps({**report, "id": f"{prefix}-{index}"}).encode() for index in range(REPORTS)])
    return block(lambda: ask(next(payloads)), REPORTS)


class Mqtt:
    """A device: publishes a report at QoS 1 and waits for its diagnosis."""

    def __init__(self, daemon: Running) -> None:
        self._answers: queue.SimpleQueue[bytes | bytearray] = queue.SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._port = daemon.mqtt_port
        self._device = json.loads(FAULT.read_text("utf-8"))["dev"]["id"]

    def __enter__(self) -> Mqtt:
        ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._client.on_message = lambda _client, _data, message: self._answers.put(message.payload)
        self._client.on_subscribe = lambda *_: ready.put(None)
        # paho leaves small packets to wait for the acknowledgement of the last one: 40 ms of its own.
        self._client.on_socket_open = _send_at_once
        self._client.connect("127.0.0.1", self._port)
        self._client.subscribe(f"lineside/v1/diagnosis/{self._device}", qos=1)
        self._client.loop_start()
        ready.get(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def ask(self, payload: bytes) -> None:
        """One report and its answer."""
        self._client.publish(f"lineside/v1/fault/{self._device}", payload, qos=1)
        self._answers.get(timeout=30)


def _send_at_once(_client: paho.Client, _data: object, tcp: Any) -> None:
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _bars(p50: dict[str, list[float]]) -> list[chart.Bar]:
    return [
        chart.Bar(
            name, statistics.median(values), min(values), max(values), name.startswith(("Line", "MQTT"))
        )
        for name, values in p50.items()
    ]


def _ignored(_answer: object) -> None:
    """An answer whose content is not the subject."""
