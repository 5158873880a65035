"""A plant whose daemon answers by rules, small disks, and hooks into a daemon's process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from tests.integration.conftest import tiny_fp32_bundle  # noqa: F401 - a fixture
from tests.support.broker import Broker
from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint

DISK_BYTES = 24 << 20


def report(name: str, code: str = "F012", device: str = "L1/CD-07") -> dict[str, object]:
    """A fault that the demo's manuals know."""
    return {"id": name, "dev": {"id": device, "vendor": "Northmoor Drives"}, "alarm": {"code": code}}


def until(condition, seconds: float = 20.0) -> None:
    """Wait for what the daemon tells of itself."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it does not come about"
        time.sleep(0.05)


def broker_of(daemon: Daemon) -> int:
    """The process id of its managed broker."""
    command = ["pgrep", "-P", str(daemon.process.pid), "mosquitto"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.fixture
def plant(tmp_path):
    """plant(directory, bundle, section=...): a daemon by rules with the demo's manuals, not started yet."""
    made = []

    def make(directory: Path | None = None, bundle: Path = Path("none"), **sections) -> Daemon:
        sections = {"diagnosis": {"mode": "rules"}, **sections}
        daemon = Daemon(directory or tmp_path / "plant", bundle, **sections)
        daemon.log = tmp_path / "daemon.log"
        made.append(daemon)
        daemon.import_demo()
        return daemon

    yield make
    for daemon in made:
        daemon.end()


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    """The bundle of a small random model that takes a report's whole prompt."""
    directory = tmp_path_factory.mktemp("reader")
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", Tiny("qwen2", positions=4096)))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", weights="fp32", max_seq_len=4096)
    build_bundle(checkpoint, directory / "bundle", options, lambda _: None)
    return directory / "bundle"


@pytest.fixture
def own_broker(tmp_path):
    """The port of a broker that outlives the daemon."""
    broker = Broker(tmp_path / "broker", free_port())
    broker.start()
    yield broker.port
    broker.end()


@pytest.fixture
def disk(tmp_path):
    """A small ext4 of its own, mounted; where that is not allowed, the test is skipped."""
    place, image = tmp_path / "disk", tmp_path / "disk.img"
    place.mkdir()
    with image.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.decode().strip()}")
    place.chmod(0o755)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def hooked(tmp_path, monkeypatch):
    """hooked(code): what every daemon's Python runs first; returns a directory for its switches."""
    hook, switches = tmp_path / "hook", tmp_path / "switches"

    def install(code: str) -> Path:
        hook.mkdir()
        switches.mkdir()
        (hook / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(hook))
        monkeypatch.setenv("LINESIDE_TEST_SWITCHES", str(switches))
        return switches

    return install
