"""What is state: names in a backup, and where the files are here. Knows nothing of how they are copied.

The place of a file always comes from this machine's configuration, never from a backup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lineside.config import SYSTEM_CONFIG, Config, load_config

JOURNAL, FEEDBACK, KNOWLEDGE = "journal.db", "feedback.db", "knowledge.db"
DEVICES, POWER, CALIBRATION = "devices.json", "power-setting.json", "calibration.toml"
CONFIGURATION = "configuration.toml"
MARKER = "restore-begun.json"
_MEMBER = {
    "drafts": re.compile(r"[0-9a-f]{24}\.json"),
    "mappings": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.toml"),
}
MAX_MEMBERS = 256 + 64


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the state. `database`: SQLite's, changed while it is copied."""

    name: str
    path: Path
    database: bool = False

    @property
    def is_configuration(self) -> bool:
        """Belongs to the configuration, not to the data."""
        return self.name == CONFIGURATION or self.name.startswith("mappings/")


@dataclass(frozen=True, slots=True)
class Place:
    """One installation: its configuration and where that lies, below a root that may be another machine's."""

    config: Config
    config_path: Path
    root: Path = Path("/")

    def part(self, name: str) -> Part | None:
        """The part of that name in a backup; None: there is none."""
        if name in (known := {part.name: part for part in self._fixed()}):
            return known[name]
        folder, _, member = name.partition("/")
        if folder not in _MEMBER or not _MEMBER[folder].fullmatch(member):
            return None
        beside = self.config_path.parent / member
        path = self._drafts() / member if folder == "drafts" else beside
        return None if path == self.config_path else self._below(Part(name, path))

    def present(self) -> list[Part]:
        """What there is here. The journal comes first: what it has answered, the feedback then knows, too."""
        drafts = sorted(self._at(self._drafts()).glob("*.json"))
        names = [part.name for part in self._fixed()]
        names += [f"drafts/{path.name}" for path in drafts]
        names += [
            f"mappings/{Path(path).name}" for path in self.config.mqtt.mappings if self._is_beside(path)
        ]
        parts = filter(None, map(self.part, names))
        return [part for part in parts if part.path.is_file()]

    def left_out(self) -> list[str]:
        """What the configuration names and no backup has: secrets, and what can be had again."""
        config, mqtt = self.config, self.config.mqtt
        named = [mqtt.password_file, mqtt.key_file, mqtt.ca_file, mqtt.cert_file]
        named += [str(path) for path in mqtt.mappings if not self._is_beside(path)]
        secrets = self._at(self.config_path.parent / "credentials")
        try:
            named += [str(path) for path in sorted(secrets.iterdir())]
        except OSError:
            named.append(str(secrets))
        if self._at(config.certs_path).is_dir():
            named.append(f"{config.certs_path} (the plant's authority, its keys, what it has revoked)")
        return [*filter(None, named), str(config.bundle_path)]

    @property
    def marker(self) -> Path:
        """Says that a restore was begun and has to be finished."""
        return self._at(self.config.state_path("", MARKER))

    @property
    def journal(self) -> Path:
        """What a running daemon holds."""
        return self._at(self.config.journal_path)

    def _fixed(self) -> list[Part]:
        config = self.config
        parts = [
            Part(JOURNAL, config.journal_path, database=True),
            Part(FEEDBACK, config.feedback_path, database=True),
            Part(KNOWLEDGE, config.knowledge_path),
            Part(DEVICES, config.devices_path),
            Part(POWER, config.power_setting_path),
            Part(CALIBRATION, config.state_path(config.diagnosis.calibration, CALIBRATION)),
            Part(CONFIGURATION, self.config_path),
        ]
        return [self._below(part) for part in parts]

    def _drafts(self) -> Path:
        path = self.config.knowledge_path
        return path.with_name(f"{path.name}.drafts")

    def _is_beside(self, mapping: str | Path) -> bool:
        path = Path(mapping)
        beside = path.parent.absolute() == self.config_path.parent.absolute()
        return beside and _MEMBER["mappings"].fullmatch(path.name) is not None

    def _below(self, part: Part) -> Part:
        return replace(part, path=self._at(part.path))

    def _at(self, path: Path) -> Path:
        return self.root / path.absolute().relative_to("/")


def place(config_path: Path | None, root: Path = Path("/")) -> Place:
    """The installation that a configuration describes; with a `root`, the one below it."""
    named = config_path or SYSTEM_CONFIG
    found = root / named.absolute().relative_to("/")
    # A configuration that was named has to be there.
    config = load_config(found) if found.exists() or config_path is not None else Config()
    return Place(config, named.absolute(), root.absolute())
