"""What a start does before most of the daemon is imported: takes the state, and begins to load the model.

Half of the modules are those of transports, pipeline and power: they are imported while the model is loaded.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lineside.allocator import share_arenas
from lineside.config import Config
from lineside.diagnosis.standing import repeated
from lineside.journal import Journal
from lineside.journal_alarms import Life
from lineside.journal_file import Limits
from lineside.loading import Loading, wants_model


@dataclass(frozen=True, slots=True)
class Beginning:
    """The journal, which no other daemon has, and the model on its way; None where none is wanted."""

    begun_s: float
    journal: Journal
    loading: Loading | None


@contextlib.contextmanager
def begun(config: Config) -> Iterator[Beginning]:
    """The cheap and exclusive first: a second daemon on the same state loads nothing.

    Raises LinesideError. What is opened is closed at the end, an engine that nobody took as well.
    """
    begun_s = time.monotonic()
    share_arenas()
    settings = config.journal
    limits = Limits(settings.keep_answers, settings.max_bytes, settings.keep_days)
    life = Life(config.mqtt.occurrence_s, config.mqtt.group_ms, repeated)
    with contextlib.ExitStack() as stack:
        journal = Journal(config.journal_path, limits, life)
        stack.callback(journal.close)
        loading = stack.enter_context(Loading(config)) if wants_model(config) else None
        yield Beginning(begun_s, journal, loading)
