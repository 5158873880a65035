"""A stored answer given again, to another report of its alarm. Knows nothing of where answers are kept."""

from __future__ import annotations

import logging

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis, encode_diagnosis
from lineside.errors import Reason

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Diagnosis)


def answers_repeats(answer: Diagnosis) -> bool:
    """Whether later reports of its alarm get this answer.

    What could not be answered may be asked again. An abstention costs no model call, and a manual may have
    come meanwhile.
    """
    return answer.status == "ok" or answer.reason == Reason.POISON.value


def repeated(stored: bytes, asked: str, count: int) -> bytes:
    """The same diagnosis under another report's id, for an alarm that was reported `count` times by now."""
    try:
        answer = _decoder.decode(stored)
    except msgspec.MsgspecError as error:  # an older version wrote it
        log.warning("a stored answer is given again as it is: %s", error)
        return stored
    alarm = msgspec.structs.replace(answer.alarm, count=max(count, answer.alarm.count))
    return encode_diagnosis(msgspec.structs.replace(answer, id=asked, alarm=alarm))
