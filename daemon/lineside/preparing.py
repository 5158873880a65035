"""What is stored of a report as it comes: looked into once, with its answer where nobody has to work on it.

Knows nothing of the journal and of whose turn it is.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import tzinfo

from lineside.diagnosis.answers import noted_diagnosis
from lineside.diagnosis.diagnosis import encode_diagnosis
from lineside.diagnosis.report import Report, alarm_key, event_of, priority_of
from lineside.errors import REASONS, Reason, RejectedError
from lineside.journal_alarms import Alarm
from lineside.journal_rows import NewReport
from lineside.ports import Copies, Copy, IncomingReport
from lineside.reading import alarm_of, answer_to, key_of, parse_incoming, refusal_of
from lineside.serving.request import Priority

log = logging.getLogger(__name__)


def prepare(
    incoming: IncomingReport,
    zone: tzinfo | None,
    copies: Copies | None,
    no_room: Callable[[Priority], RejectedError | None],
    count: Callable[[str], None],
) -> NewReport:
    """One that is refused is stored with its answer. `no_room`: why a new one is, or None."""
    report: Report | None = None
    answer: bytes | None = None
    full: bytes | None = None
    alarm: Alarm | None = None
    unlike = ""
    try:
        report = parse_incoming(incoming, zone)
        if (event := event_of(report)) != "raised":
            count(f"reports_{event}")
            answer = encode_diagnosis(noted_diagnosis(report))
        elif refused := no_room(priority_of(report)):
            full = encode_diagnosis(answer_to(refused, incoming, report))
        alarm = alarm_of(report)
    except Exception as error:  # noqa: BLE001  (whatever it is, the sender hears of it)
        refusal = refusal_of(error)
        note_refusal(incoming, count, refusal.reason, refusal.field)
        answer = encode_diagnosis(answer_to(refusal, incoming, report))
        # Whoever is told to ask again must not be given this answer again.
        unlike = uuid.uuid4().hex if REASONS[refusal.reason].retry else ""
    timeout_ms = report.deadline_ms if report else None
    urgency = int(priority_of(report) if report else Priority.NORMAL)
    key, wanted = key_of(incoming, report), _wanted(incoming, report, copies)
    # What is only to be asked again is not known by its id.
    name = "" if unlike else key.name
    return NewReport(incoming, key.whole + unlike, urgency, timeout_ms, answer, wanted, name, alarm, full)


def note_refusal(
    incoming: IncomingReport, count: Callable[[str], None], reason: Reason, field: str = ""
) -> None:
    """In the log and among the counters."""
    fields = {"device": incoming.device, "reason": reason.value, "field": field}
    log.log(REASONS[reason].log_level, "report refused", extra=fields)
    count(f"reports_refused_{reason.value}")


def _wanted(incoming: IncomingReport, report: Report | None, copies: Copies | None) -> tuple[Copy, ...]:
    if copies is None:
        return ()
    if report is None:
        return copies(incoming, "", "raised")
    return copies(incoming, alarm_key(report), event_of(report))
