"""A whole Debian booted by systemd in a namespace, without network, to try units and installation in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineside_models.fetch import cache_directory
from tests.support.making import making

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3"
BOOT_S = 90


def base_root() -> Path:
    """A root with systemd and Python, made once."""
    base = cache_directory() / "roots" / SUITE
    with making(base):
        if not base.exists():
            _debootstrap(base)
    return base


def _debootstrap(base: Path) -> None:
    scratch = base.with_suffix(f".{os.getpid()}")
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, scratch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(scratch, ignore_errors=True)
        pytest.skip(f"debootstrap: {(done.stdout + done.stderr)[-500:]}")
    scratch.rename(base)


def wheelhouse(folder: Path, bundle: Path) -> Path:
    """The folder that scripts/wheelhouse fills for such a root."""
    command = [ROOT / "scripts" / "wheelhouse", "--python", "3.11", "--arch", os.uname().machine]
    environment = os.environ | {"PYTHON": sys.executable}
    command += ["--debian", SUITE, "--bundle", bundle, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


class Machine:
    """Booted from `start` to `stop`; `run` runs a command in it."""

    def __init__(self, root: Path, shared: Path) -> None:
        self.root = root
        self.shared = shared
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def start(self) -> None:
        """Boot; skips the test where this kernel does not let it, with what it said."""
        if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None:
            pytest.skip("booting a root needs root and systemd-nspawn")
        log = self.root.with_suffix(".log")
        options = ["--register=no", "--keep-unit", "--private-network", f"--bind-ro={self.shared}:/mnt"]
        with log.open("wb") as stream:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.root, "-b", *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        end_s = time.monotonic() + BOOT_S
        while self._nspawn.poll() is None and time.monotonic() < end_s:
            if self._find_init() and self.state() in ("running", "degraded"):
                return
            time.sleep(0.2)
        self.stop()
        pytest.skip(f"a root does not boot here: {log.read_text(errors='replace')[-1000:]}")

    def state(self) -> str:
        """What systemd says of the whole."""
        return self.run("systemctl", "is-system-running").stdout.strip()

    def run(self, *command: str, stdin: str | None = None, timeout: float = 120):
        """In the booted root, as root.

        It is ended in there, too: what outlives its nsenter has its parent outside, where the booted
        root's init cannot wait for it, and the root would not power off.
        """
        inside = ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        bounded = ["timeout", "--kill-after=2", str(timeout), *command]
        return subprocess.run(
            [*inside, path, *bounded],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout + 10,
            check=False,
        )

    def do(self, *command: str, stdin: str | None = None) -> str:
        """As `run`; it has to succeed."""
        done = self.run(*command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-3000:]}"
        return done.stdout

    def in_its_network(self, *command: str) -> None:
        """A program of this machine's, as root, with the booted root's network."""
        subprocess.run(["nsenter", "-t", str(self._init), "-n", "--", *command], check=True)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.do("systemctl", "show", "-P", name, unit).strip()

    def stop(self) -> None:
        """Power off."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            self._nspawn.terminate()
            try:
                self._nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()

    def _find_init(self) -> bool:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._init = int(children[-1]) if children else 0
        return bool(self._init)
