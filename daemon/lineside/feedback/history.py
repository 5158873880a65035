"""A device's last answered faults, from the diagnoses given. Knows nothing of what they are for."""

from __future__ import annotations

import logging

from lineside.diagnosis.recent import Fault
from lineside.errors import RejectedError
from lineside.feedback.store import FeedbackStore, Issued

log = logging.getLogger(__name__)

MAX_LOOKED_AT = 16


class History:
    """Implements diagnosis.recent.History. What cannot be read is no reason to leave a report unanswered."""

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store

    def __call__(self, device: str) -> tuple[Fault, ...]:
        """See diagnosis.recent.History."""
        try:
            last = self._store.last_of(device, MAX_LOOKED_AT)
        except RejectedError as error:
            log.warning("without the device's recent faults: %s", error.message)
            return ()
        return tuple(fault for issued in last for fault in _fault_of(issued))


def _fault_of(issued: Issued) -> tuple[Fault, ...]:
    """None of an abstention: it cites what the fault may have been, not what it was."""
    diagnosis = issued.diagnosis
    if diagnosis.status != "ok" or not issued.entries or not diagnosis.evidence:
        return ()
    # The recorder puts the entries in the order in which the evidence cites them.
    return (Fault(diagnosis.evidence[0].src, issued.entries[0], diagnosis.received_at),)
