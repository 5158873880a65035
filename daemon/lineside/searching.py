"""How the manuals are searched: by words, by meaning where there is an embedder, with whose thresholds.

What cannot be used of these is left out, and told: a search by words is better than none. Knows no model.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

import anyio.to_thread

from lineside.config import Config
from lineside.diagnosis.knowledge.fusion import Calibration
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.vectors import Vectors
from lineside.errors import LinesideError
from lineside.loading import load_calibration, load_embedder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """A searcher, its vectors if there are any, and what is not as it should be with them."""

    searcher: Searcher
    vectors: Vectors | None
    troubles: tuple[str, ...]

    @property
    def embedded(self) -> tuple[int, int]:
        """How many texts have vectors, and how many are to have."""
        return self.vectors.progress if self.vectors else (0, 0)


async def open_search(config: Config, store: Store, stack: contextlib.AsyncExitStack) -> Search:
    """Vectors are being made from now on. What is opened, `stack` closes."""
    vectors, without_vectors = await _load_vectors(config, store, stack)
    calibration, shipped = _load_calibration(config, vectors)
    searcher = Searcher(store, config.knowledge.max_entries, vectors, calibration)
    return Search(searcher, vectors, tuple(filter(None, (without_vectors, shipped))))


async def _load_vectors(
    config: Config, store: Store, stack: contextlib.AsyncExitStack
) -> tuple[Vectors | None, str]:
    """None where there is no embedder to make them."""
    try:
        embedder = await anyio.to_thread.run_sync(load_embedder, config)
    except LinesideError as error:
        return None, _degraded("manuals are searched by words alone", error)
    if embedder is None:
        return None, ""
    vectors = Vectors(store, embedder)
    stack.callback(vectors.close)
    vectors.index(store.version)
    return vectors, ""


def _load_calibration(config: Config, vectors: Vectors | None) -> tuple[Calibration | None, str]:
    try:
        return load_calibration(config, vectors.embedder.key if vectors else ""), ""
    except LinesideError as error:
        return None, _degraded("the calibration that is shipped is used", error)


def _degraded(what: str, error: LinesideError) -> str:
    log.warning("degraded: %s: %s", what, error)
    return f"{what}, because {error.message} ({error.hint})"
