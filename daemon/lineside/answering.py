"""One stored report to its answer. Knows nothing of queues, nor of where the answer goes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import tzinfo

import msgspec

from lineside.diagnosis.answers import error_diagnosis
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.errors import Reason, RejectedError
from lineside.journal_rows import OpenReport
from lineside.ports import Call, Diagnoser
from lineside.reading import read_report
from lineside.security.roles import Roles
from lineside.serving.request import Priority

log = logging.getLogger(__name__)

NS_PER_MS = 1_000_000
# Of a report's time, for what its answer still has to go through: the disk, the broker, the network.
WAY_BACK, MOST_WAY_BACK_MS = 0.2, 2000
# A report during which the daemon died so often is not tried again.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Answering:
    """Everything that it takes to answer one. Belongs to the event loop."""

    diagnoser: Diagnoser
    default_timeout_ms: int
    zone: tzinfo | None = None

    async def answer(self, stored: OpenReport, refusal: RejectedError | None = None) -> Diagnosis:
        """By the rules where it is late; not at all where nobody waits any more, or it does only harm.

        `refusal`: why it is not looked into whatever it is.
        """
        try:
            report = read_report(stored.payload, stored.device, self.zone)
        except RejectedError as unreadable:  # stored by a version that took it
            return error_diagnosis(unreadable, device=stored.device)
        if refusal := refusal or _refusal(stored):
            return error_diagnosis(refusal, device=stored.device, report=report)
        async for event in self.diagnoser.diagnose(report, self._call(stored)):
            if isinstance(event, Diagnosis):
                return msgspec.structs.replace(event, group=stored.group) if stored.group else event
        raise AssertionError("a diagnoser ends with a diagnosis")

    def _call(self, stored: OpenReport) -> Call:
        timeout_ms = stored.timeout_ms or self.default_timeout_ms
        left_ns = timeout_ms * NS_PER_MS - stored.waited_ns
        if stored.remaining_ms is not None:
            left_ns = min(left_ns, stored.remaining_ms * NS_PER_MS)
        left_ns -= min(round(timeout_ms * WAY_BACK), MOST_WAY_BACK_MS) * NS_PER_MS
        return Call(
            principal=Roles().anonymous("mqtt", stored.device),
            deadline_ns=time.monotonic_ns() + left_ns,
            priority=Priority(stored.urgency),
        )


def _refusal(stored: OpenReport) -> RejectedError | None:
    """Why nothing is looked up."""
    if stored.cancelled:
        return RejectedError(Reason.CANCELLED, "the alarm has cleared before its turn came")
    if stored.remaining_ms is not None and stored.remaining_ms <= 0:
        return RejectedError(Reason.EXPIRED, "the message expired before its turn came")
    if stored.attempts > MAX_ATTEMPTS:
        message = f"{MAX_ATTEMPTS} attempts to answer it ended with the daemon; it is set aside"
        log.error("a report is set aside", extra={"report": stored.report, "device": stored.device})
        return RejectedError(Reason.POISON, message)
    return None
