"""Counts and facts for whoever helps: never a text of the plant's, never a payload. Knows no archive."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineside import __version__
from lineside.backup.parts import Place
from lineside.devices import file as devices
from lineside.diagnosis.knowledge.drafts import drafts
from lineside.diagnosis.knowledge.store import Snapshot
from lineside.plain_files import open_plain
from lineside.power.board import discover

UNITS = (
    "lineside.service",
    "lineside-broker.service",
    "lineside-power.socket",
    "lineside-power.service",
    "lineside-doctor.service",
    "lineside-doctor.timer",
    "lineside-wear.service",
)
COMMAND_S = 20.0
LOG_LINES = 5000
MAX_LOG_BYTES = 1 << 20
_PROPERTIES = "Id,ActiveState,SubState,Result,NRestarts,ExecMainStatus,StateChangeTimestamp,MemoryCurrent"
_PACKAGES = [
    "anyio",
    "grpcio",
    "llguidance",
    "msgspec",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "paho-mqtt",
    "protobuf",
    "pycuda",
    "tensorrt",
    "tokenizers",
]
_JOURNAL = {
    "reports": "SELECT count(*) FROM report",
    "answered": "SELECT count(*) FROM report WHERE answer IS NOT NULL",
    "tried more than once": "SELECT count(*) FROM report WHERE attempts > 1",
    "answers not with the broker": "SELECT count(*) FROM delivery WHERE published = 0",
    "calls": "SELECT count(*) FROM call",
}
_FEEDBACK = {
    "diagnoses": "SELECT count(*) FROM issued",
    "verdicts": "SELECT count(*) FROM feedback",
    "verdicts that wait": "SELECT count(*) FROM feedback WHERE state = 'pending'",
}


def versions(_: Place) -> dict[str, Any]:
    """Of the program and of what it runs on."""
    packages = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    system = (
        platform.freedesktop_os_release().get("PRETTY_NAME", "") if Path("/etc/os-release").exists() else ""
    )
    return {
        "lineside": __version__,
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "system": system,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "packages": packages,
    }


def board(here: Place) -> dict[str, Any]:
    """What the machine is and what it can measure."""
    found = discover(Path(here.config.power.root))
    release = Path("/etc/nv_tegra_release")
    facts = {
        "model": found.model,
        "jetson release": release.read_text(errors="replace")[:200] if release.exists() else None,
        "memory": Path("/proc/meminfo").read_text("ascii").splitlines()[:3],
        "rails": [probe.name for probe in found.rails],
        "total": found.total.explanation,
        "temperatures": [zone.probe.name for zone in found.zones],
        "gpu": found.gpu is not None,
        "notes": found.notes,
    }
    found.close()
    disk = shutil.disk_usage(next(path for path in here.journal.parents if path.exists()))
    return facts | {"state directory": {"total": disk.total, "free": disk.free}}


def journal(here: Place) -> dict[str, Any]:
    """How much there is, not what."""
    return _counts(here.journal, _JOURNAL)


def feedback(here: Place) -> dict[str, Any]:
    """How much there is, not what."""
    return _counts(here.config.feedback_path, _FEEDBACK)


def knowledge(here: Place) -> dict[str, Any]:
    """Sizes; no source is named, no text is shown."""
    size = here.config.knowledge_path.stat().st_size
    snapshot = Snapshot(here.config.knowledge_path)
    with contextlib.closing(snapshot):
        facets = snapshot.facets
        return {
            "version": snapshot.version,
            "entries": snapshot.entries,
            "sources": len({facet.source for facet in facets}),
            "scopes": len(facets),
            "approvals": len(snapshot.ledger.approvals),
            "drafts": sum(1 for _ in drafts(here.config.knowledge_path)),
            "bytes": size,
        }


def registry(here: Place) -> dict[str, Any]:
    """Sizes."""
    found = devices.read(here.config.devices_path)
    return {"devices": len(found.devices), "tags": len(found.tags), "bits": len(found.bits)}


def doctor(config_path: Path | None) -> Any:
    """Every finding of `lineside doctor`."""
    named = () if config_path is None else ("--config", str(config_path))
    said = command(str(Path(sys.executable).with_name("lineside")), "doctor", "--json", *named)
    try:
        return json.loads(said)
    except ValueError:
        return {"failed": said[-2000:]}


def units() -> str:
    """What systemd says of them."""
    return command("systemctl", "show", "--no-pager", "-p", _PROPERTIES, *UNITS)


def log(path: Path | None) -> str:
    """The end of the log: the file's, else journald's."""
    if path is None:
        chosen = [option for unit in UNITS for option in ("-u", unit)]
        return command(
            "journalctl", "--no-pager", "-o", "short-iso", "--no-hostname", "-n", str(LOG_LINES), *chosen
        )
    with open_plain(path) as stream:
        stream.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
        return stream.read(MAX_LOG_BYTES).decode("utf-8", "replace")


def command(*arguments: str) -> str:
    """The end of what a program says; what went wrong, where it cannot be run."""
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{arguments[0]}: {error}"
    return (done.stdout + done.stderr)[-MAX_LOG_BYTES:].decode("utf-8", "replace")


def collected(collect: Callable[[], Any]) -> Any:
    """What is collected; the reason where that fails: what is broken is when help is asked for."""
    try:
        return collect()
    except Exception as error:  # noqa: BLE001  (whatever it is, the rest is still wanted)
        return {"failed": f"{type(error).__name__}: {error}"}


def _counts(path: Path, queries: dict[str, str]) -> dict[str, Any]:
    with contextlib.closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5)
    ) as db:
        counts: dict[str, Any] = {name: db.execute(query).fetchone()[0] for name, query in queries.items()}
    return counts | {"bytes": path.stat().st_size}
