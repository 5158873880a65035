"""Vectors of the entries' texts: computed once, kept in a file beside the knowledge base. Knows no model.

A text's vector is the mean of its title's and of all its words': displays quote titles, people describe.
It is stored in 8 bits under a digest of the text, so that an import computes only what is new.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.diagnosis.knowledge.entry import Text
from lineside.diagnosis.knowledge.store import EMPTY_VERSION, Snapshot, Store
from lineside.diagnosis.knowledge.vector_index import VectorIndex
from lineside.whole_file import replacing

log = logging.getLogger(__name__)

# About 50 MB of 384 wide vectors; texts beyond are found by their words alone.
MAX_TEXTS = 131_072
# A crash loses at most what was computed since the last writing.
SAVE_TEXTS, SAVE_SHARE = 1024, 0.25
STEP_TEXTS = 64
_NICE = 10


class Embedder(Protocol):
    """What turns texts into vectors of length one."""

    @property
    def key(self) -> str:
        """Names the model: vectors of different keys cannot be compared."""

    @property
    def width(self) -> int:
        """Elements of a vector."""

    def query(self, text: str) -> NDArray[np.float32]:
        """For a report's text."""

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """For texts that are to be found, a row each."""


class Vectors:
    """Keeps the index of a store up with it, in a thread of its own. Thread-safe."""

    def __init__(
        self, store: Store, embedder: Embedder, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.embedder = embedder
        # Texts that have their vectors, and all of them; 0 and 0 until they have been counted.
        self.progress = 0, 0
        self._on_progress = on_progress or (lambda ready, total: None)
        self._query_failed = False
        self._store = store
        self._path = store.path.with_name(f"{store.path.name}.{embedder.key}.npy")
        self._wanted = threading.Condition()
        self._stop = threading.Event()
        self._index: VectorIndex | None = None
        self._failed = ""
        self._thread: threading.Thread | None = None

    def index(self, version: str) -> VectorIndex | None:
        """The index of that version of the store; None while it is being made."""
        with self._wanted:
            index = self._index
            if index is not None and index.version == version:
                return index
            if self._thread is None and not self._stop.is_set() and self._failed != version:
                self._thread = threading.Thread(
                    target=self._work, args=(version,), name="vectors", daemon=True
                )
                self._thread.start()
            return None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the index is that of the store's newest version. False: it cannot be made, or not in time."""
        version = self._store.version
        if self.index(version) is not None:
            return True
        with self._wanted:
            self._wanted.wait_for(lambda: self._thread is None, timeout_s)
        return self.index(version) is not None

    def query(self, text: str) -> NDArray[np.float32] | None:
        """A report's vector; None where the embedder fails, for then there are still the words."""
        try:
            return self.embedder.query(text)
        except Exception:
            if not self._query_failed:
                log.exception("a text has no vector: it is searched for by words alone; this is logged once")
            self._query_failed = True
            return None

    def close(self) -> None:
        """Stop after the texts at hand; what was computed is kept."""
        self._stop.set()
        with self._wanted:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self, wanted: str) -> None:
        # Of this thread alone, on Linux: reports come first.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        index = None
        try:
            version, texts = self._texts()
            index = self._make(version, texts)
        except Exception:
            log.exception("no vectors: the knowledge base is searched by words alone")
        # Batches of long texts leave tens of megabytes free, which glibc would keep.
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
        with self._wanted:
            self._index = index or self._index
            self._failed = "" if index else wanted
            self._thread = None
            self._wanted.notify_all()

    def _texts(self) -> tuple[str, list[tuple[int, int, Text]]]:
        if not self._store.path.exists():
            return EMPTY_VERSION, []
        # Of its own: searches wait for none of this.
        with contextlib.closing(Snapshot(self._store.path)) as snapshot:
            found = list(_texts_of(snapshot))
            if len(found) > MAX_TEXTS:
                log.warning(
                    "vectors for %d of %d texts; the rest is found by words alone", MAX_TEXTS, len(found)
                )
            return snapshot.version, found[:MAX_TEXTS]

    def _make(self, version: str, texts: list[tuple[int, int, Text]]) -> VectorIndex | None:
        digests = [_digest(text) for _, _, text in texts]
        kept = _read(self._path, self.embedder.width)
        known = {bytes(digest): place for place, digest in enumerate(kept["digest"].tolist())}
        table = np.zeros(len(texts), kept.dtype)
        missing = []
        for place, digest in enumerate(digests):
            if digest in known:
                table[place] = kept[known[digest]]
            else:
                missing.append(place)
        self._tell(len(texts) - len(missing), len(texts))
        if missing and not self._compute(table, missing, [texts[place][2] for place in missing]):
            return None
        if missing or len(kept) != len(table):
            _write(self._path, table)
        return VectorIndex.of(
            version,
            np.array([row for row, _, _ in texts], np.int64),
            np.array([facet for _, facet, _ in texts], np.int64),
            np.ascontiguousarray(table["vector"]),
            np.ascontiguousarray(table["scale"]),
        )

    def _tell(self, ready: int, total: int) -> None:
        self.progress = ready, total
        self._on_progress(ready, total)

    def _compute(self, table: NDArray[Any], missing: Sequence[int], texts: Sequence[Text]) -> bool:
        """Fill in the places that are missing. False: told to stop."""
        unsaved = 0
        for start in range(0, len(missing), STEP_TEXTS):
            places = missing[start : start + STEP_TEXTS]
            step = texts[start : start + STEP_TEXTS]
            vectors = passage_vectors(self.embedder, step)
            scales = np.abs(vectors).max(axis=1) / 127
            table["vector"][places] = np.rint(vectors / scales[:, None])
            table["scale"][places] = scales
            table["digest"][places] = [_digest(text) for text in step]
            unsaved += len(places)
            self._tell(self.progress[0] + len(places), len(table))
            stopping = self._stop.is_set()
            if stopping or unsaved >= max(SAVE_TEXTS, SAVE_SHARE * len(table)):
                _write(self._path, table[table["scale"] > 0])
                unsaved = 0
            if stopping:
                return False
        return True


def passage_vectors(embedder: Embedder, texts: Sequence[Text]) -> NDArray[np.float32]:
    """A row for each text: the mean of its title's vector and of all its words', of length one."""
    titles = embedder.passages([text.title for text in texts])
    more = [place for place, text in enumerate(texts) if _whole(text).strip() != text.title]
    total = 2 * titles
    total[more] = titles[more] + embedder.passages([_whole(texts[place]) for place in more])
    unit: NDArray[np.float32] = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit


def _texts_of(snapshot: Snapshot) -> Iterator[tuple[int, int, Text]]:
    for row, facet, entry in snapshot.rows():
        for text in entry.texts:
            yield row, facet, text


def _whole(text: Text) -> str:
    return " ".join((text.title, text.meaning, *text.causes, *text.actions))


def _digest(text: Text) -> bytes:
    # One more byte, for numpy cuts zeros off the end.
    return hashlib.sha256(f"{text.title}\0{_whole(text)}".encode()).digest()[:15] + b"."


def _read(path: Path, width: int) -> NDArray[Any]:
    """What the file holds; nothing where it is missing or of no use, for then it is computed anew."""
    dtype = np.dtype([("digest", "S16"), ("scale", "<f4"), ("vector", "i1", (width,))])
    empty = np.zeros(0, dtype)
    if not path.exists():
        return empty
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        log.warning("%s cannot be read, its vectors are computed anew: %s", path, error)
        return empty
    return table if table.dtype == dtype and table.ndim == 1 else empty


def _write(path: Path, table: NDArray[Any]) -> None:
    """Put the table in the file's place, which is whole at every instant."""
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, table, allow_pickle=False)
    except OSError as error:
        log.warning("%s cannot be written, vectors are computed anew at the next start: %s", path, error)
