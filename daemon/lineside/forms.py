"""An answer in the form that it is published in. Knows nothing of journals and of brokers."""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.short import encode_brief, summary
from lineside.ports import OutgoingAnswer

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Diagnosis)


def formed(answer: OutgoingAnswer) -> OutgoingAnswer | None:
    """The answer to publish, from the full one that is stored; None where there is nothing to publish."""
    if answer.form == "full":
        return answer
    if answer.form == "cleared":
        return replace(answer, payload=b"")
    try:
        diagnosis = _decoder.decode(answer.payload)
    except msgspec.MsgspecError as error:  # an older version wrote it
        log.warning("a stored answer has no %s form: %s", answer.form, error)
        return None
    if answer.form == "alarm":
        return None if diagnosis.status == "error" else answer
    payload = encode_brief(diagnosis) if answer.form == "brief" else summary(diagnosis).encode()
    return replace(answer, payload=payload)
