"""Who may read what: the configuration's secrets and the state directory. Reads no secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lineside.config import Config
from lineside.doctor.disk import state_directory
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.security.files import CertificateFiles


def look(machine: Machine) -> Iterator[Finding]:
    """Each file whose content should be few people's."""
    for name, path in _secrets(machine.config):
        yield _secret(f"permissions.{name}", path)
    state = state_directory(machine.config)
    if state.is_dir():
        yield _state(state)
    yield from _socket("power_helper", Path(machine.config.power.helper_socket), 0o600)
    yield from _socket("power_control", machine.config.power_control_path, 0o666)


def _secrets(config: Config) -> Iterator[tuple[str, Path]]:
    for name in ("password_file", "key_file"):
        if path := getattr(config.mqtt, name):
            yield name, Path(path)
    if config.grpc.tls or config.mqtt.interface:
        files = CertificateFiles(config.certs_path)
        yield "server_key", files.server_key
        if os.access(files.ca_key, os.F_OK):  # it may be kept elsewhere
            yield "ca_key", files.ca_key


def _secret(name: str, path: Path) -> Finding:
    try:
        found = path.stat()
    except PermissionError:
        return finding(name, "unknown", f"{path} may not be seen", "run it as root to see this")
    except FileNotFoundError:
        return finding(name, "problem", f"{path} is not there", "make it, or correct the configuration")
    if not stat.S_ISREG(found.st_mode):
        return finding(name, "problem", f"{path} is no plain file", "name a file")
    if found.st_mode & 0o007:
        return finding(name, "warning", f"{path} is open to everybody", f"chmod o= {path}")
    return finding(name, "ok", f"{path} is closed to others")


def _socket(name: str, path: Path, wanted: int) -> Iterator[Finding]:
    """Who may speak to it, where it is there. Both ask the kernel who does, too."""
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        return
    except PermissionError:
        yield finding(
            f"permissions.{name}", "unknown", f"{path} may not be seen", "run it as root to see this"
        )
        return
    if not stat.S_ISSOCK(found):
        yield finding(f"permissions.{name}", "problem", f"{path} is no socket", f"remove it: rm {path}")
    elif stat.S_IMODE(found) != wanted:
        seen = f"{path} has mode {stat.S_IMODE(found):o}, not {wanted:o}"
        yield finding(f"permissions.{name}", "warning", seen, f"chmod {wanted:o} {path}")
    else:
        yield finding(f"permissions.{name}", "ok", f"{path} has mode {wanted:o}")


def _state(state: Path) -> Finding:
    if state.stat().st_mode & stat.S_IWOTH:
        return finding("permissions.state", "problem", f"everybody may write {state}", f"chmod o-w {state}")
    return finding("permissions.state", "ok", f"only its owner and group may write {state}")
