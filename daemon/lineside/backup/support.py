"""A bundle for whoever helps: facts, settings, log, without secrets. Knows not how they are found out."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from lineside.backup import facts
from lineside.backup.archive import written_whole
from lineside.backup.parts import Place, place
from lineside.backup.redact import Redactor, secrets_of
from lineside.config import SYSTEM_CONFIG, Config, MqttConfig
from lineside.errors import LinesideError
from lineside.plain_files import read_plain
from lineside.toml_file import MAX_BYTES

# The status of the daemon, as a value for JSON; raises LinesideError where none runs.
AskStatus = Callable[[Config], Any]
_TO_HIDE = re.compile(r"""^\s*(host|user|password_file|key_file)\s*=\s*["']([^"'\n]+)""", re.MULTILINE)


def support_bundle(
    config_path: Path | None, target: Path, ask_status: AskStatus, *, log: Path | None, show_hosts: bool
) -> list[str]:
    """Write it; what is in it. A part that cannot be had says why, and so does a broken configuration."""
    trouble = ""
    try:
        here = place(config_path)
    except LinesideError as error:
        trouble, path = str(error), (config_path or SYSTEM_CONFIG).absolute()
        here = Place(Config(mqtt=_to_hide(path)), path)
    redactor = _redactor(here, show_hosts=show_hosts)
    contents = _contents(here, trouble, ask_status, redactor, log)
    contents["doctor.json"] = facts.collected(lambda: facts.doctor(config_path))
    files = {name: _text(redactor.value(content)) for name, content in contents.items()}
    try:
        with written_whole(target.absolute()) as stream, tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, text in files.items():
                content = text.encode()
                header = tarfile.TarInfo(f"lineside-support/{name}")
                header.size, header.mode = len(content), 0o600
                tar.addfile(header, io.BytesIO(content))
    except OSError as error:
        hint = "name a file in a directory that can be written"
        raise LinesideError("write support bundle", f"{target}: {error.strerror}", hint) from error
    return list(files)


def _contents(
    here: Place, trouble: str, ask_status: AskStatus, redactor: Redactor, log: Path | None
) -> dict[str, Any]:
    settings = {"failed": trouble} if trouble else redactor.settings(msgspec.to_builtins(here.config))
    parts: dict[str, Callable[[], Any]] = {
        "status.json": lambda: redactor.settings(ask_status(here.config)),
        "versions.json": lambda: facts.versions(here),
        "board.json": lambda: facts.board(here),
        "journal.json": lambda: facts.journal(here),
        "feedback.json": lambda: facts.feedback(here),
        "knowledge.json": lambda: facts.knowledge(here),
        "devices.json": lambda: facts.registry(here),
        "units.txt": facts.units,
        "log.txt": lambda: facts.log(log),
    }
    return {"configuration.json": settings} | {name: facts.collected(part) for name, part in parts.items()}


def _to_hide(broken: Path) -> MqttConfig:
    """What a configuration that cannot be used says of the broker and is not to be shown."""
    try:
        text = read_plain(broken, MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return MqttConfig()
    section = text.partition("[mqtt]")[2].partition("\n[")[0]
    return MqttConfig(**dict(_TO_HIDE.findall(section)))


def _redactor(here: Place, *, show_hosts: bool) -> Redactor:
    mqtt = here.config.mqtt
    named = [Path(name) for name in (mqtt.password_file, mqtt.key_file) if name]
    credentials = here.config_path.parent / "credentials"
    if os.access(credentials, os.R_OK | os.X_OK):
        named += credentials.iterdir()
    redactor = Redactor(secrets=(*secrets_of(named), *filter(None, [mqtt.user])), show_hosts=show_hosts)
    if show_hosts:
        return redactor
    names = {os.uname().nodename, mqtt.host, here.config.grpc.host} - {
        "127.0.0.1",
        "localhost",
        "::1",
        "::",
        "",
    }
    return replace(redactor, hosts=tuple(sorted(names - {"0.0.0.0"})))  # noqa: S104 - a name, nothing listens


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
