"""A search that a model may look over: where report and manual are of two languages, if there is time.

Knows nothing of engines. Whatever keeps the model from reading leaves the search's own result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import anyio

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.rereading import NO_ENTRY, Reading, behind
from lineside.diagnosis.knowledge.retrieval import Query, Retrieval
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.terms import has_cjk
from lineside.diagnosis.writer import Heard, Reader
from lineside.errors import RejectedError
from lineside.ports import Call

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. `model`: whose reading is in it; how long that took, what it drew if measured."""

    retrieval: Retrieval
    model: str = ""
    read_ms: float = 0.0
    energy_j: float | None = None


async def find(
    searcher: Searcher, query: Query, reader: Reader | None, call: Call, timeout_s: float
) -> Finding:
    """Search; where that leaves entries of another language, let a calibrated `reader` read; search again."""
    retrieval = await anyio.to_thread.run_sync(searcher.search, query)
    weights = searcher.calibration.reading.get(reader.model_name) if reader else None
    if reader is None or weights is None or not retrieval.unread:
        return Finding(retrieval)
    heard, begun_s = None, anyio.current_time()
    with anyio.move_on_after(max(timeout_s, 0.0)):
        heard = await _heard(retrieval, query, reader, call)
    if heard is None:
        return Finding(retrieval)
    gains = gains_of(retrieval, heard)
    again = await anyio.to_thread.run_sync(partial(searcher.search, query, Reading(gains, weights)))
    read_ms = round((anyio.current_time() - begun_s) * 1000, 3)
    return Finding(again, reader.model_name, read_ms, heard.energy_j)


def gains_of(retrieval: Retrieval, heard: Heard) -> dict[str, float]:
    """By entry id: how much likelier the text is behind the entry than behind none."""
    unread, *read = heard.logprobs
    return {entry.id: one - unread for entry, one in zip(retrieval.unread, read, strict=True)}


async def read(retrieval: Retrieval, query: Query, reader: Reader, call: Call) -> Heard:
    """The text behind no entry, then behind each that is unread. Raises what the reader raises."""
    language: Language = "zh" if has_cjk(query.text) else "en"
    prompts = [NO_ENTRY, *(behind(entry, language) for entry in retrieval.unread)]
    return await reader.read(prompts, f" {query.text}", call)


async def _heard(retrieval: Retrieval, query: Query, reader: Reader, call: Call) -> Heard | None:
    """None where the model cannot be asked now."""
    try:
        return await read(retrieval, query, reader, call)
    except RejectedError as refusal:
        log.info("entries of another language are not read again: %s", refusal.message)
    except Exception:
        log.exception("the engine failed while it read entries")
    return None
