"""Takes out of texts and settings what nobody else is to see. Knows nothing of where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.plain_files import open_plain

MAX_SECRET_BYTES = 65_536
# A setting is shown unless its name says that it may be secret, or whose it is.
_SECRET_NAME = re.compile(r"password|passwd|secret|token|key|credential|cert|ca_file|auth|^user|operators")
_HOST_NAME = re.compile(r"host|client_id|address|url")
_LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::", ""}  # noqa: S104 - names, nothing listens
_IN_TEXT = (
    (
        re.compile(r"(?i)((?:password|passwd|secret|token|api[_-]?key|authorization)\S{0,3}[=:]\s*)\S+"),
        r"\1(secret)",
    ),
    (re.compile(r"://[^\s/@:]+:[^\s/@]+@"), "://(secret)@"),
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL), "(secret)"),
)


@dataclass(frozen=True, slots=True)
class Redactor:
    """`secrets`: values that are known; `hosts`: names to hide, none where they may be seen."""

    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    show_hosts: bool = False

    def text(self, text: str) -> str:
        """The text without secrets and hosts."""
        for secret in self.secrets:
            text = text.replace(secret, "(secret)")
        for pattern, instead in _IN_TEXT:
            text = pattern.sub(instead, text)
        for host in self.hosts:
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "(host)", text)
        return text

    def value(self, value: Any) -> Any:
        """The same with all texts within."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.value(one) for name, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, (list, tuple)) else value

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings by name, sections within."""
        return {name: self._setting(name, value) for name, value in settings.items()}

    def _setting(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.settings(value)
        if _SECRET_NAME.search(name) and not isinstance(value, (bool, int, float)):
            return "(set)" if value else "(not set)"
        if _HOST_NAME.search(name) and not self.show_hosts and value not in _LOOPBACK:
            return "(host)"
        return value


def secrets_of(files: Iterable[Path]) -> tuple[str, ...]:
    """The lines of secret files. One that cannot be read is no less secret, but not known here."""
    found: set[str] = set()
    for path in files:
        try:
            with open_plain(path) as stream:
                content = stream.read(MAX_SECRET_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        found.update(line.strip() for line in content.splitlines())
    # Short ones would take common words out of the text.
    return tuple(sorted((one for one in found if len(one) >= 4), key=len, reverse=True))
