"""A daemon to measure: its configuration, start, metrics and end. Knows no benchmark."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.record import ROOT
from lineside.errors import LinesideError
from lineside.transport.grpc import client

LINESIDE = Path(sys.executable).parent / "lineside"
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that is ready; `ready_s` after it was started."""

    address: str
    mqtt_port: int
    metrics_port: int
    pid: int
    ready_s: float

    def metrics(self) -> dict[str, float]:
        """Values by series, labels as they stand on the page, which is kept for a quarter of a second."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = response.read().decode()
        values = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return values


@contextmanager
def running(sections: Mapping[str, Mapping[str, object]], *, manuals: bool = False) -> Iterator[Running]:
    """`lineside serve` with this configuration, in a directory of its own; `manuals`: the demo plant's."""
    with tempfile.TemporaryDirectory(prefix="lineside-bench-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)  # the managed broker may run as another user
        grpc, mqtt, metrics = free_ports(3)
        config = directory / "lineside.toml"
        own: dict[str, dict[str, object]] = {
            "grpc": {"port": grpc},
            "mqtt": {"port": mqtt},
            "telemetry": {"metrics": f"127.0.0.1:{metrics}", "log_level": "warning"},
        }
        for section, values in sections.items():
            own[section] = {**own.get(section, {}), **values}
        config.write_text(_toml(directory / "state", own), "utf-8")
        if manuals:
            files = sorted(map(str, (ROOT / "demo" / "knowledge").glob("*.yaml")))
            command = [
                str(LINESIDE),
                "kb",
                "--config",
                str(config),
                "import",
                "--approve-by",
                "bench",
                *files,
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        begun_s = time.monotonic()
        log = directory / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [LINESIDE, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=stream
            )
        try:
            address = f"127.0.0.1:{grpc}"
            _wait_ready(process, address, log)
            yield Running(address, mqtt, metrics, process.pid, time.monotonic() - begun_s)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    host, port = address.split(":")
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        time.sleep(0.01)
        # Asking costs little until somebody listens: the cores are the daemon's, which has much to load.
        if _listens(host, int(port)) and _is_ready(address):
            return
    raise SystemExit(f"bench: the daemon did not become ready:\n{log.read_text('utf-8', 'replace')}")


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _is_ready(address: str) -> bool:
    try:
        return client.status(address).state == "ready"
    except LinesideError:
        return False


def _toml(state: Path, sections: Mapping[str, Mapping[str, object]]) -> str:
    lines = [f"state_dir = {json.dumps(str(state))}"]
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines)
