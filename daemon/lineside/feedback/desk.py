"""Verdicts in, receipts out, for every transport. Knows nothing of wires or of the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lineside.diagnosis.answers import Clock
from lineside.diagnosis.diagnosis import DeviceRef
from lineside.errors import REASONS, RejectedError
from lineside.feedback.store import FeedbackStore
from lineside.feedback.verdict import Receipt, parse_feedback

log = logging.getLogger(__name__)


class FeedbackDesk:
    """Implements ports.FeedbackTaker. One thread writes, so that no event loop waits for the disk."""

    def __init__(
        self, store: FeedbackStore, count: Callable[[str], None], clock: Clock | None = None
    ) -> None:
        self._store = store
        self._count = count
        self._clock = clock or Clock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feedback")

    def give(self, payload: bytes, device: str = "") -> Future[Receipt]:
        """See ports.FeedbackTaker."""
        return self._thread.submit(self._give, payload, device)

    def close(self) -> None:
        """Finish what was given."""
        self._thread.shutdown()

    def _give(self, payload: bytes, device: str) -> Receipt:
        feedback = parse_feedback(payload)
        now = self._clock.now()
        device = self._store.add(feedback, now, device)
        self._count("feedback_taken")
        return Receipt(
            id=feedback.id or feedback.request_id,
            status="ok",
            received_at=now,
            feedback_id=feedback.feedback_id,
            diagnosis_id=feedback.diagnosis_id,
            dev=DeviceRef(id=device),
        )


def refusal_receipt(refusal: RejectedError, request_id: str = "", clock: Clock | None = None) -> Receipt:
    """The receipt for what was not taken."""
    log.log(REASONS[refusal.reason].log_level, "feedback refused: %s", refusal)
    return Receipt(
        id=request_id,
        status="error",
        received_at=(clock or Clock()).now(),
        reason=refusal.reason.value,
        message=refusal.message[:500],
        field=refusal.field,
        retry_after_ms=refusal.retry_after_ms,
    )
