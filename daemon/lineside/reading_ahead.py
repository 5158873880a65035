"""Reads manuals' entries while nobody asks anything, so that a report on one has only itself left to be read.

Knows no engine and no wire: a service reads, and keeps what it has read.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable

import anyio

from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.retrieval import Candidate
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.options import Option
from lineside.diagnosis.prompt import beginnings
from lineside.errors import LinesideError, RejectedError
from lineside.ports import Call
from lineside.writer import PRINCIPAL, EngineWriter

log = logging.getLogger(__name__)

# How often it is looked whether there is time and anything to read.
EVERY_S = 1.0
# What has not been read in that time is read another time.
READING_S = 120.0

_Key = tuple[str, Language]


class ReadingAhead:
    """Keeps the beginnings of prompts about `places` entries read: of those asked for last, then of others.

    Every method belongs to the event loop.
    """

    def __init__(
        self, store: Store, writer: EngineWriter, locale: Language, places: int, count: Callable[[str], None]
    ) -> None:
        self._store, self._writer, self._locale = store, writer, locale
        self._places, self._count = places, count
        self._version = ""
        self._asked: dict[_Key, Entry] = {}  # the one that was asked for last stands last
        self._others: dict[_Key, Entry] = {}
        self._tokens: dict[_Key, list[int]] = {}

    def asked(self, entry: Entry, language: Language) -> None:
        """A report was about it."""
        self._asked.pop((entry.id, language), None)
        self._asked[entry.id, language] = entry
        if len(self._asked) > self._places:
            del self._asked[next(iter(self._asked))]

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await anyio.sleep(EVERY_S)
            try:
                while await self.read_next():
                    pass
            except RejectedError as refusal:
                log.debug("no manual is read ahead now: %s", refusal.message)
            except LinesideError as error:
                log.warning("no manual is read ahead: %s", error)

    async def read_next(self) -> bool:
        """Read an entry that is not cached, where nobody asks anything; False where there is none to read."""
        if self._version != (version := self._store.version):
            if self._version:
                self._asked.clear()  # as they were before the manuals changed
            self._version = version
            self._tokens.clear()
            self._others = await anyio.to_thread.run_sync(self._first_entries)
        service = self._writer.service
        for key, entry in self._wanted():
            if service.live:
                return False
            tokens = await self._beginning(key, entry)
            fits = len(tokens) <= self._writer.prompt_budget(0)
            # The last token is always computed.
            if fits and service.cached(tokens) < len(tokens) - 1:
                deadline_ns = time.monotonic_ns() + round(READING_S * 1e9)
                await service.read_ahead(tokens, Call(PRINCIPAL, deadline_ns))
                self._count("entries_read_ahead")
                return True
        return False

    def _wanted(self) -> list[tuple[_Key, Entry]]:
        lately = dict(reversed(self._asked.items()))
        return list(itertools.islice((lately | self._others).items(), self._places))

    def _first_entries(self) -> dict[_Key, Entry]:
        """Blocking."""
        if self._locale not in self._writer.languages:
            return {}
        with self._store.snapshot() as base:
            every = base.all() if base else iter(())
            entries = (entry for entry in every if as_first(entry, self._locale).leaves_choice)
            return {(entry.id, self._locale): entry for entry in itertools.islice(entries, self._places)}

    async def _beginning(self, key: _Key, entry: Entry) -> list[int]:
        if key not in self._tokens:
            language = key[1]
            self._tokens[key] = await self._writer.beginning(*beginnings(as_first(entry, language), language))
            if len(self._tokens) > 2 * self._places:
                del self._tokens[next(iter(self._tokens))]
        return self._tokens[key]


def as_first(entry: Entry, language: Language) -> Option:
    """An entry as the first one of a prompt."""
    return Option.of(1, Candidate(entry, 1.0, "code"), language)
