"""A real Prometheus that scrapes one address, for what its own query engine says."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from pathlib import Path

from tests.support.ports import free_port

START_S = 20
SCRAPES_S = 10


class Prometheus:
    """Started at once; scrapes `target` (host:port) twice a second until `end`."""

    def __init__(self, directory: Path, target: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._log = directory / "prometheus.log"
        config = directory / "prometheus.yml"
        job = {"job_name": "lineside", "static_configs": [{"targets": [target]}]}
        settings = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": [job],
        }
        config.write_text(json.dumps(settings), "utf-8")  # YAML has JSON in it
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'series'}",
            f"--web.listen-address={self.address}",
        ]
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(command, stderr=stream)

    def query(self, expression: str) -> list[dict[str, object]]:
        """The series of an instant query, each with its `metric` (labels) and `value`."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{query}", timeout=5) as response:
                return json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                raise  # it listens, and is not ready yet
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def wait_for(self, expression: str) -> None:
        """Until the query has a series."""
        end_s = time.monotonic() + START_S + SCRAPES_S
        while time.monotonic() < end_s:
            assert self._process.poll() is None, self._log.read_text()
            try:
                if self.query(expression):
                    return
            except urllib.error.URLError:
                pass  # it does not listen yet
            time.sleep(0.1)
        raise AssertionError(f"{expression} has no series: {self._log.read_text()}")

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)
