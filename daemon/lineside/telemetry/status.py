"""What the daemon says of itself. Knows nothing of how it is asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside import __version__
from lineside.ports import EngineFacts, ModelFacts, StatusFacts
from lineside.power.facts import PowerFacts


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the snapshot's parts are read; each returns at once."""

    engine: Callable[[], EngineFacts | None]
    models: Callable[[], tuple[ModelFacts, ...]]
    knowledge: Callable[[], tuple[str, int]]
    broker: Callable[[], tuple[str, bool, bool]]
    journal: Callable[[], tuple[int, int]]
    trouble: Callable[[], str]
    engine_choice: Callable[[], str]
    power: Callable[[], PowerFacts | None] = lambda: None
    embedded: Callable[[], tuple[int, int]] = lambda: (0, 0)


@dataclass(slots=True)
class Status:
    """Implements ports.Admin. `sources` are set once the parts exist."""

    state: str = "starting"
    sources: Sources | None = None
    _counters: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun_s: float = field(default_factory=time.monotonic)

    def count(self, name: str, amount: int = 1) -> None:
        """See ports.Admin."""
        with self._lock:
            self._counters[name] += amount

    def models(self) -> tuple[ModelFacts, ...]:
        """See ports.Admin."""
        return self.sources.models() if self.sources else ()

    def status(self) -> StatusFacts:
        """See ports.Admin."""
        sources = self.sources
        engine = sources.engine() if sources else None
        knowledge = sources.knowledge() if sources else ("", 0)
        broker = sources.broker() if sources else ("", False, False)
        journal = sources.journal() if sources else (0, 0)
        embedded, texts = sources.embedded() if sources else (0, 0)
        trouble = sources.trouble() if sources else ""
        with self._lock:
            counters = dict(self._counters)
        return StatusFacts(
            version=__version__,
            state="degraded" if trouble and self.state == "ready" else self.state,
            detail=trouble,
            uptime_s=time.monotonic() - self._begun_s,
            engine=engine,
            knowledge_version=knowledge[0],
            knowledge_entries=knowledge[1],
            broker_address=broker[0],
            broker_connected=broker[1],
            broker_managed=broker[2],
            journal_pending=journal[0],
            journal_unpublished=journal[1],
            counters=counters,
            engine_choice=sources.engine_choice() if sources else "",
            power=sources.power() if sources else None,
            knowledge_texts_embedded=embedded,
            knowledge_texts=texts,
        )
