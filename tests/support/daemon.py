"""A real daemon for tests: `lineside serve` with a real bundle, the demo plant and real clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lineside.errors import LinesideError
from lineside.transport.grpc import client
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
LINESIDE = Path(sys.executable).parent / "lineside"
START_S = 30
ANSWER_S = 60


def lineside(*arguments: object, stdin: bytes | None = None, timeout: float = 60):
    """Run the command; its completed process."""
    return subprocess.run(
        [LINESIDE, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout, check=False
    )


class Daemon:
    """One state directory and the daemon that serves from it, started and stopped as a test likes."""

    def __init__(self, directory: Path, bundle: Path, **sections: dict[str, object]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # The managed broker runs as another user where tests run as root; it must reach its directory.
        for parent in (directory, *directory.parents):
            if parent.owner() == Path.home().owner() and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o055)
        self.directory = directory
        self.grpc_port, self.mqtt_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.config = directory / "lineside.toml"
        self.log = directory / "daemon.log"
        values: dict[str, dict[str, object]] = {
            "bundle": {"path": str(bundle)},
            "diagnosis": {"mode": "model"},
            # What is read ahead would take the cores from other tests.
            "engine": {"threads": 2, "kept_entries": 0},
            "grpc": {"port": self.grpc_port},
            # Tests report many alarms of one line at once, each to be diagnosed.
            "mqtt": {"port": self.mqtt_port, "group_ms": 0},
            "telemetry": {"log_level": "debug"},
        }
        for section, entries in sections.items():
            values[section] = {**values.get(section, {}), **entries}
        lines = [f"state_dir = {json.dumps(str(directory / 'state'))}"]
        for section, entries in values.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in entries.items()]
        self.config.write_text("\n".join(lines), "utf-8")
        self.process: subprocess.Popen[bytes] | None = None
        # Of it alone, beside the test's own.
        self.environment: dict[str, str] = {}

    def import_demo(self) -> None:
        """Give it the demo plant's manuals."""
        manuals = sorted((DEMO / "knowledge").glob("*.yaml"))
        done = lineside("kb", "--config", self.config, "import", "--approve-by", "tests", *manuals)
        assert done.returncode == 0, done.stderr.decode()

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | self.environment
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                [LINESIDE, "serve", "--config", self.config], stderr=stream, env=environment
            )

    def start(self, state: str = "ready") -> None:
        """Start and wait until it is in `state` and, where it has one, its broker connected."""
        self.launch()
        assert self.process is not None
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s:
            assert self.process.poll() is None, self.log.read_text()
            try:
                status = client.status(self.address)
            except LinesideError:
                status = None
            if status and status.state == state and (status.broker_connected or not status.broker_address):
                return
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.log.read_text()}")

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """Whatever runs."""
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def status(self):
        """Its own account."""
        return client.status(self.address)

    def publish(self, report: object, *options: str, device: str = "", topic: str = "", qos: int = 1) -> None:
        """mosquitto_pub with a report; a dict, or bytes as they are."""
        payload = report if isinstance(report, bytes) else json.dumps(report).encode()
        if not topic:
            device = device or json.loads(payload)["dev"]["id"]
            topic = f"lineside/v1/fault/{device}"
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.mqtt_port), "-q", str(qos), "-t", topic]
        subprocess.run([*command, *options, "-s"], input=payload, check=True, timeout=20)

    def subscribe(self, topic: str, count: int = 1, *options: str) -> Subscription:
        """mosquitto_sub that already listens."""
        return Subscription(self.mqtt_port, topic, count, options)

    def ask(self, report: object, *options: str) -> dict[str, object]:
        """Publish a report; the diagnosis that comes back at its device's topic."""
        payload = report if isinstance(report, bytes) else json.dumps(report).encode()
        device = json.loads(payload)["dev"]["id"]
        with self.subscribe(f"lineside/v1/diagnosis/{device}") as subscription:
            self.publish(report, *options)
            return json.loads(subscription.wait()[0])


class Subscription:
    """A running mosquitto_sub; made once the broker has confirmed it."""

    def __init__(self, port: int, topic: str, count: int, options: tuple[str, ...]) -> None:
        # Into a pipe it would write in blocks, and its SUBACK would not be seen: stdbuf makes it lines.
        command = [
            "stdbuf",
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-t",
            topic,
            "-C",
            str(count),
            "-d",
        ]
        command += ["-q", "1", "-W", str(ANSWER_S), "-F", "=> %p", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = iter(self._process.stdout.readline, b"")
        assert any(b"SUBACK" in line for line in self._lines), "no subscription"

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait(self) -> list[bytes]:
        """The messages' payloads (or what -F says), once all have come."""
        return [line[3:].rstrip(b"\n") for line in self._lines if line.startswith(b"=> ")]
