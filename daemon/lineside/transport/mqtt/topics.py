"""Names on the broker: devices, answers, status, and where an answer may go. Knows nothing of messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from paho.mqtt.client import topic_matches_sub

from lineside.errors import LinesideError
from lineside.gateways.filters import is_filter

ROOT = "lineside/v1"
FAULT = f"{ROOT}/fault"
DIAGNOSIS = f"{ROOT}/diagnosis"
STATUS = f"{ROOT}/status"
HEALTH = f"{ROOT}/health"
FEEDBACK = f"{ROOT}/feedback"
RECEIPT = f"{ROOT}/receipt"
POWER = f"{ROOT}/power"
COPIES = {"brief": f"{ROOT}/brief", "text": f"{ROOT}/text"}
FAULT_FILTER = f"{FAULT}/#"
FEEDBACK_FILTER = f"{FEEDBACK}/#"

MAX_DEVICE_CHARACTERS = 512
MAX_REPLY_BYTES = 1024
MAX_KEY_CHARACTERS = 240
# What a topic may not hold or a broker may refuse, and the sign that escapes it: wildcards, control and
# non-characters. A slash stays: device ids have levels.
UNSAFE = re.compile(
    "[%+#\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufeff"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)


def encode_device(device: str) -> str:
    """A device id as levels of a topic."""
    return UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), device)


def decode_device(levels: str) -> str:
    """The device id that levels of a topic stand for. A percent sign that escapes nothing is itself."""
    try:
        return unquote_to_bytes(levels).decode()
    except UnicodeDecodeError:
        return levels


def is_feedback(topic: str) -> bool:
    """Whether it is one that verdicts come in on."""
    return topic == FEEDBACK or topic.startswith(f"{FEEDBACK}/")


def is_ours(topic: str) -> bool:
    """Whether it is one that we listen to whatever the mappings are."""
    return is_feedback(topic) or topic == FAULT or topic.startswith(f"{FAULT}/")


def device_levels(topic: str) -> str:
    """What follows the verb in a topic that we listen to; empty where nothing does."""
    return topic[len(FEEDBACK if is_feedback(topic) else FAULT) + 1 :]


def default_reply(topic: str) -> str:
    """Where an answer to a message on `topic` goes that was asked for nowhere else."""
    verb, levels = RECEIPT if is_feedback(topic) else DIAGNOSIS, device_levels(topic)
    return f"{verb}/{levels}" if levels else verb


def diagnosis_topic(device: str) -> str:
    """Where an answer for a device goes that was asked for nowhere else."""
    return f"{DIAGNOSIS}/{encode_device(device)}" if device else DIAGNOSIS


def copy_topic(form: str, device: str) -> str:
    """Where a device's answers go in that form."""
    return f"{COPIES[form]}/{encode_device(device)}" if device else COPIES[form]


def alarm_topic(device: str, key: str) -> str:
    """Where the diagnosis of one alarm stands retained: one more level, whatever the key holds."""
    level = quote(key, safe="")
    if len(level) > MAX_KEY_CHARACTERS:
        level = f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"
    return f"{diagnosis_topic(device)}/{level}"


def status_topic(client_id: str) -> str:
    """Where this daemon tells whether it is there."""
    return f"{STATUS}/{encode_device(client_id)}"


def health_topic(client_id: str) -> str:
    """Where `lineside doctor` leaves what it found."""
    return f"{HEALTH}/{encode_device(client_id)}"


def power_topic(client_id: str) -> str:
    """Where this daemon tells which power setting holds."""
    return f"{POWER}/{encode_device(client_id)}"


def power_set_topic(client_id: str) -> str:
    """Where operators set it."""
    return f"{POWER}/set/{encode_device(client_id)}"


def power_receipt_topic(client_id: str) -> str:
    """Where their receipts go that were asked for nowhere else."""
    return f"{RECEIPT}/power/{encode_device(client_id)}"


def check_filters(filters: Iterable[str]) -> tuple[str, ...]:
    """The filters of the configuration. Raises LinesideError for one that no broker would take."""
    checked = tuple(filters)
    for topic_filter in checked:
        if not is_filter(topic_filter):
            hint = "a + stands for one whole level, a # for all that follows and comes last"
            message = f"[mqtt] reply_topics: {topic_filter!r} is no topic filter"
            raise LinesideError("read configuration", message, hint)
    return checked


def may_reply_to(topic: str, filters: Iterable[str], heard: Iterable[str] = ()) -> bool:
    """Whether a client may have its answer sent to `topic`: never where we listen, nor to another's topics.

    `heard`: what we listen to beside our own topics.
    """
    if not topic or len(topic.encode(errors="replace")) > MAX_REPLY_BYTES or re.search("[+#\0]", topic):
        return False
    if topic == ROOT or topic.startswith(f"{ROOT}/"):
        return False
    if any(topic_matches_sub(topic_filter, topic) for topic_filter in heard):
        return False
    return any(topic_matches_sub(topic_filter, topic) for topic_filter in filters)
