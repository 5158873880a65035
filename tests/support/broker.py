"""A Mosquitto that a test may kill: configured as the product's own, or without persistence."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import anyio

from lineside.transport.mqtt.mosquitto import CONFIG_NAME, find_mosquitto
from lineside.transport.mqtt.probe import answers_mqtt

LINESIDE = Path(sys.executable).parent / "lineside"
START_S = 15.0


class Broker:
    """One directory and port; `persistent`: as `lineside broker` runs it."""

    def __init__(self, directory: Path, port: int, *, persistent: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self.port, self.persistent = directory, port, persistent
        self.process: subprocess.Popen[bytes] | None = None
        self._config = directory / "broker.toml"
        self._config.write_text(f"[mqtt]\nport = {port}\nmax_pending_reports = 100000\n", "utf-8")
        self._command = [LINESIDE, "broker", "--config", self._config, "--directory", directory / "broker"]
        if not persistent:
            bare = directory / "bare.conf"
            bare.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n")
            self._command = [find_mosquitto(""), "-c", bare]

    def start(self) -> None:
        """Start it; returns once it takes connections."""
        where = self._directory / "broker" if self._command[-1] == CONFIG_NAME else None
        self.process = subprocess.Popen(self._command, cwd=where, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + START_S
        while not anyio.run(answers_mqtt, "127.0.0.1", self.port):
            assert self.process.poll() is None, "the broker does not start"
            assert time.monotonic() < end_s, "the broker does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL. From here on it is started as `lineside broker` would, without waiting for Python."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        if self.persistent:
            self._command = [find_mosquitto(""), "-c", CONFIG_NAME]

    def end(self) -> None:
        """In order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
