"""What all test processes of a machine make once: who comes second waits. Knows nothing of what it is."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Hold `path` for as long as it is looked for and made; whoever dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
