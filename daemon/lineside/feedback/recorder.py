"""Remembers each diagnosis that is given, so that it can be judged. Knows nothing of how it is found."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import anyio

from lineside.closing import Closing
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report
from lineside.errors import RejectedError
from lineside.feedback.store import FeedbackStore, Issued
from lineside.ports import Call, Diagnoser, DiagnosisEvent, Retrieved

log = logging.getLogger(__name__)


class RecordingDiagnoser:
    """Implements ports.Diagnoser. A diagnosis that cannot be remembered is given all the same."""

    def __init__(self, inner: Diagnoser, store: FeedbackStore, count: Callable[[str], None]) -> None:
        self._inner = inner
        self._store = store
        self._count = count

    async def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """See ports.Diagnoser."""
        ids: dict[str, str] = {}
        async with Closing(self._inner.diagnose(report, call)) as events:
            async for event in events:
                if isinstance(event, Retrieved):
                    ids = {entry.ref: entry.id for entry in event.entries}
                elif isinstance(event, Diagnosis) and event.status != "error":
                    cited = tuple(ids[one.ref] for one in event.evidence if one.ref in ids)
                    await self._record(Issued(report=report, diagnosis=event, entries=cited))
                yield event

    async def _record(self, issued: Issued) -> None:
        try:
            await anyio.to_thread.run_sync(self._store.record, issued)
        except RejectedError as error:
            self._count("diagnoses_not_recorded")
            log.warning("this diagnosis cannot be judged later: %s", error.message)
