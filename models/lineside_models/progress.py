"""Progress for a person: a bar on a terminal, a line at the start and end elsewhere. Knows no build."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def progress(console: Console, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with each amount done. `total` may not be reached (a cached file)."""
    if not console.is_terminal:
        started = time.monotonic()
        console.print(f"{label} ...", highlight=False)
        yield lambda _: None
        console.print(f"{label}: {time.monotonic() - started:.1f} s", highlight=False)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
        bar.update(task, completed=total)
