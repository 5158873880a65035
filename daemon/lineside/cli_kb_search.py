"""`lineside kb search` and `kb embed`: what a report would find. Knows nothing of how it is searched."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from lineside.config import load_config
from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside.config import Config
    from lineside.diagnosis.knowledge.fusion import Calibration
    from lineside.diagnosis.knowledge.store import Store
    from lineside.diagnosis.knowledge.vectors import Vectors
    from lineside.embedder import OnnxEmbedder

_ADVICE = {
    "none": "nothing certain; nearest:",
    "conflict": "several entries fit; add --vendor, --model or --unit to tell them apart:",
}
# For the vectors of some hundred new entries; the search goes on without them, and what was made is kept.
SEARCH_WAIT_S = 10.0


def add_search(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add both to `lineside kb`."""
    embedding = actions.add_parser(
        "embed", parents=[common], help="make the vectors for searching by meaning now, with a progress bar"
    )
    embedding.set_defaults(run=_embed)
    searching = actions.add_parser(
        "search", parents=[common], help="what a report with these words would find"
    )
    searching.add_argument("text", nargs="?", default="")
    for name in ("code", "vendor", "model", "unit", "fw"):
        searching.add_argument(f"--{name}", default="")
    searching.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> int:
    from lineside.diagnosis.knowledge.retrieval import Query  # noqa: PLC0415
    from lineside.diagnosis.knowledge.search import Searcher  # noqa: PLC0415
    from lineside.diagnosis.knowledge.store import Store  # noqa: PLC0415

    if not (arguments.text or arguments.code):
        print("lineside: kb search: name a text or --code", file=sys.stderr)
        return 2
    config = load_config(arguments.config)
    query = Query(
        code=arguments.code,
        text=arguments.text,
        vendor=arguments.vendor,
        model=arguments.model,
        unit=arguments.unit,
        fw=arguments.fw,
    )
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(config.knowledge_path)))
        # A code needs no vectors, and loading what makes them takes half a second.
        vectors = _vectors(config, store, stack) if arguments.text else None
        calibration = _calibration(config, vectors) if vectors else None
        found = Searcher(store, config.knowledge.max_entries, vectors, calibration).search(query)
    print(f"{found.verdict} (version {found.version})")
    if found.candidates and found.verdict in _ADVICE:
        print(_ADVICE[found.verdict])
    for candidate in found.candidates:
        titles = " / ".join(text.title for text in candidate.entry.texts)
        print(f"  {candidate.score:.2f} by {candidate.by}: {candidate.entry.id}  {titles}")
    return 0


def _vectors(config: Config, store: Store, stack: contextlib.ExitStack) -> Vectors | None:
    """What searches by meaning; None, having said why, where it cannot, for a search must not fail of it."""
    from lineside.diagnosis.knowledge.vectors import Vectors  # noqa: PLC0415

    try:
        embedder = _load_embedder(config)
    except LinesideError as error:
        _tell_words_alone(f"{error.message} ({error.hint})")
        return None
    if embedder is None:
        return None
    vectors = stack.enter_context(contextlib.closing(Vectors(store, embedder)))
    if not vectors.wait(SEARCH_WAIT_S):
        ready, total = vectors.progress
        _tell_words_alone(
            f"{ready} of {total} texts have vectors; a running daemon makes them, or `lineside kb embed`"
        )
    return vectors


def _calibration(config: Config, vectors: Vectors) -> Calibration | None:
    from lineside.loading import load_calibration  # noqa: PLC0415

    return load_calibration(config, vectors.embedder.key)


def _load_embedder(config: Config) -> OnnxEmbedder | None:
    try:
        from lineside.loading import load_embedder  # noqa: PLC0415
    except ImportError as error:
        hint = "pip install 'lineside[cpu]', or set knowledge.vectors to \"off\""
        raise LinesideError("load embedder", f"the embedder's library is missing: {error}", hint) from error
    return load_embedder(config)


def _tell_words_alone(why: str) -> None:
    print(f"searched by words alone: {why}", file=sys.stderr)


def _embed(arguments: argparse.Namespace) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    from lineside.diagnosis.knowledge.store import Store  # noqa: PLC0415
    from lineside.diagnosis.knowledge.vectors import Vectors  # noqa: PLC0415

    config = load_config(arguments.config)
    embedder = _load_embedder(config)
    if embedder is None:
        hint = "build the bundle with --embedder multilingual-e5-small, and leave knowledge.vectors on"
        raise LinesideError("make vectors", f"{config.bundle_path} carries no embedder", hint)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(config.knowledge_path)))
        bars = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        bar = bars.add_task("")
        vectors = Vectors(
            store, embedder, lambda ready, total: bars.update(bar, completed=ready, total=total)
        )
        stack.enter_context(contextlib.closing(vectors))
        if not vectors.wait():
            raise LinesideError("make vectors", "they could not be made", "see the log above")
    print(f"{vectors.progress[1]} texts have vectors")
