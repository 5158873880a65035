"""A report looked into once, before it is stored: what it says, its key, and what it is answered if refused.

Knows nothing of where it is stored.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial

import msgspec

from lineside.diagnosis.answers import error_diagnosis, listed_diagnosis
from lineside.diagnosis.diagnosis import Diagnosis, Group, encode_diagnosis
from lineside.diagnosis.report import Report, alarm_key, event_of, line_of, parse_report
from lineside.errors import Reason, RejectedError
from lineside.gateways.own import own_report
from lineside.journal_alarms import Alarm
from lineside.ports import IncomingReport

log = logging.getLogger(__name__)


def parse_incoming(incoming: IncomingReport, zone: tzinfo | None) -> Report:
    """What it says. Raises RejectedError for what cannot be used."""
    if incoming.refusal is not None:
        raise incoming.refusal
    report = read_report(incoming.payload, incoming.device, zone)
    if report.dev.id != incoming.device:
        message = f"dev.id is {report.dev.id!r}, but the topic names device {incoming.device!r}"
        raise RejectedError(Reason.INVALID, message, field="dev.id")
    return report


def read_report(payload: bytes, device: str, zone: tzinfo | None) -> Report:
    """As it was sent by that device; a controller need not say what its topic does."""
    own = own_report(payload, device, zone)
    if own.refusal is not None:
        raise own.refusal
    return parse_report(own.payload)


@dataclass(frozen=True, slots=True)
class Key:
    """Who asked, under which id, and exactly what: a counter that starts again is not a repeat.

    `name` is the first half of `whole`, empty where the report has no id.
    """

    name: str
    whole: str


def key_of(incoming: IncomingReport, report: Report | None) -> Key:
    """Of a report that may be unreadable; id, request id or correlation, whichever it has."""
    said = (report and (report.id or report.request_id)) or incoming.request_id or incoming.correlation.hex()
    name = hashlib.sha256(msgspec.json.encode((incoming.device, said))).hexdigest()[:32]
    content = hashlib.sha256(incoming.payload).hexdigest()[:32]
    return Key(name if said else "", f"{name}{content}")


def alarm_of(report: Report) -> Alarm:
    """Which alarm it is about, and what has happened to that."""
    locale = report.locale.strip().casefold()
    asked = report.id or report.request_id
    listed = partial(_listed, report)
    return Alarm(alarm_key(report), locale, event_of(report), asked, line_of(report.dev.id), listed)


def _listed(report: Report, group: Group) -> bytes:
    return encode_diagnosis(listed_diagnosis(report, group))


def refusal_of(error: Exception) -> RejectedError:
    """Why a report is not taken, whatever went wrong."""
    if isinstance(error, RejectedError):
        return error
    log.error("a report could not be read", exc_info=error)
    return RejectedError(Reason.INTERNAL, "an internal error; the daemon's log says more")


def answer_to(refusal: RejectedError, incoming: IncomingReport, report: Report | None) -> Diagnosis:
    """The answer to a report that is not taken."""
    request_id = incoming.request_id if report is None else report.id or report.request_id
    return error_diagnosis(refusal, device=incoming.device, report=report, request_id=request_id)
