"""A folder that the broker reads and nobody else: whole, nothing left over. Knows not what its files say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lineside.security.files import write_private


def write_folder(folder: Path, contents: Mapping[str, bytes], group: int | None) -> None:
    """Write `contents` by name, for `group` where the broker runs as another user."""
    for name, content in contents.items():
        write_private(folder / name, content)
    for path in folder.iterdir():
        if path.name not in contents:
            path.unlink()
    if group is None:
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 0, group)
        path.chmod(0o750 if path == folder else 0o640)
