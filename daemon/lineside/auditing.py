"""What is recorded of reports and verdicts off the broker. Knows nothing of where records go."""

from __future__ import annotations

import msgspec

from lineside.ports import Auditor, AuditRecord, IncomingReport, OutgoingAnswer


class _Said(msgspec.Struct):
    """What a stored answer says of itself: a diagnosis or a receipt."""

    id: str = ""
    status: str = ""
    reason: str = ""
    diagnosis_id: str = ""
    feedback_id: str | None = None


_decoder = msgspec.json.Decoder(_Said)


def record_received(audit: Auditor, incoming: IncomingReport) -> None:
    """A message as it came, where payloads are asked for."""
    if not audit.payloads:
        return
    payload = incoming.payload.decode("utf-8", "replace")
    record = AuditRecord(
        who=f"mqtt:{incoming.device}",
        what=incoming.verb,
        outcome="received",
        id=incoming.request_id,
        payload=payload,
    )
    audit.record(record)


def record_answered(audit: Auditor, answer: OutgoingAnswer) -> None:
    """An answer that is stored, for one who asked."""
    try:
        said = _decoder.decode(answer.payload)
    except msgspec.MsgspecError:  # an older version wrote it
        said = _Said(status="answered")
    record = AuditRecord(
        who=f"mqtt:{answer.device}",
        what="fault" if said.feedback_id is None else "feedback",
        outcome=said.status,
        took_ms=answer.took_ms,
        id=said.id,
        reason=said.reason,
        diagnosis=said.diagnosis_id,
    )
    audit.record(record)
