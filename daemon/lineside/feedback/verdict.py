"""A technician's verdict and the receipt for it, as documents. Knows nothing of storage or of wires."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Annotated, Literal

import msgspec

from lineside.diagnosis.diagnosis import DeviceRef
from lineside.diagnosis.report import field_of
from lineside.errors import Reason, RejectedError

MAX_FEEDBACK_BYTES = 8192

Verdict = Literal["right", "wrong"]
Words = Annotated[str, msgspec.Meta(max_length=500)]
Name = Annotated[str, msgspec.Meta(max_length=64)]
RequestId = Annotated[str, msgspec.Meta(max_length=128)]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who says so: a name or a badge, and in which role."""

    role: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: Name = ""
    badge: Name = ""

    @property
    def shown(self) -> str:
        """As lists show it."""
        return f"{self.name or self.badge} ({self.role})"


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on one diagnosis, version 1. `cause` is the true one, `action` what helped; unknown fields
    are ignored."""

    diagnosis_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    verdict: Verdict
    by: Person
    v: Literal[1] = 1
    cause: Words = ""
    action: Words = ""
    ts: Annotated[str, msgspec.Meta(max_length=40, description="RFC 3339; shown, never trusted")] = ""
    id: RequestId = ""
    request_id: RequestId = ""
    reply_to: Annotated[str, msgspec.Meta(max_length=512)] = ""

    @property
    def feedback_id(self) -> str:
        """The same for the same said twice by the same person, whenever and by whatever way it came."""
        said = (self.diagnosis_id, self.verdict, self.by, self.cause, self.action)
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:12]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a verdict, version 1. `reason`, `message` and `field` are set where `status` is error."""

    id: str
    status: Literal["ok", "error"]
    received_at: str
    v: Literal[1] = 1
    feedback_id: str = ""
    diagnosis_id: str = ""
    dev: DeviceRef | None = None
    reason: str = ""
    message: str = ""
    field: str = ""
    retry_after_ms: int = 0


_decoder = msgspec.json.Decoder(Feedback)


def parse_feedback(payload: bytes) -> Feedback:
    """Decode and check a verdict. Raises RejectedError(INVALID or TOO_LONG) that names the field."""
    if len(payload) > MAX_FEEDBACK_BYTES:
        message = f"the feedback has {len(payload)} bytes, at most {MAX_FEEDBACK_BYTES} are taken"
        raise RejectedError(Reason.TOO_LONG, message)
    try:
        feedback = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise RejectedError(Reason.INVALID, str(error), field=field_of(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(Reason.INVALID, f"the feedback is not usable JSON: {error}") from None
    return checked(feedback)


def checked(feedback: Feedback) -> Feedback:
    """With every text on one line and without control signs. Raises RejectedError(INVALID)."""
    by = feedback.by
    person = Person(role=_plain(by.role), name=_plain(by.name), badge=_plain(by.badge))
    feedback = msgspec.structs.replace(
        feedback, by=person, cause=_plain(feedback.cause), action=_plain(feedback.action)
    )
    if not (person.name or person.badge):
        raise RejectedError(Reason.INVALID, "by.name or by.badge is needed", field="by")
    if not person.role:
        raise RejectedError(Reason.INVALID, "by.role is needed", field="by.role")
    return feedback


def encode_receipt(receipt: Receipt) -> bytes:
    """The JSON document that every transport sends."""
    return msgspec.json.encode(receipt)


def _plain(text: str) -> str:
    """One line of signs that can be seen: what is approved later is read by people and by programs."""
    seen = (" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text)
    return " ".join("".join(seen).split())
