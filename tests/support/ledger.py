"""Who was promised an answer, and which answers came: what is lost, and what was answered differently."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One report or call. `answers`: a digest of each different one, with how often it came.

    `outcome`: what it got, a diagnosis, an abstention, a text, or the reason of an error.
    """

    sent_s: float
    critical: bool = False
    accepted_s: float | None = None
    answered_s: float | None = None
    answers: dict[str, int] = field(default_factory=dict)
    sheds: int = 0
    reason: str = ""
    outcome: str = ""


# An answer that says when to come back is no final one: the report may be sent again.
COME_BACK = ("overload", "power", "draining", "not_ready", "storage")


class Ledger:
    """Of one run; from any thread. Times are of time.monotonic()."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        # How many answers a listener has heard, repeats and sheds included.
        self.heard = 0

    def sent(self, name: str, critical: bool = False) -> None:
        """For the first time."""
        with self._lock:
            self._entries.setdefault(name, Entry(time.monotonic(), critical))

    def accepted(self, name: str) -> None:
        """Acknowledged: from here on it must not be lost."""
        with self._lock:
            entry = self._entries[name]
            entry.accepted_s = entry.accepted_s or time.monotonic()

    def answered(self, name: str, payload: bytes) -> None:
        """An answer has come; `payload` exactly as it did."""
        document = json.loads(payload)
        said = document if isinstance(document, dict) else {"status": "ok", "text": document}
        reason = said.get("reason", "")
        result = "text" if "text" in said else "diagnosis"
        outcome = {"ok": result, "abstain": "abstention"}.get(said["status"], reason)
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return  # to a repeat of an earlier load, whose ledger is closed
            if reason in COME_BACK and said["status"] == "error":
                entry.sheds += 1
                entry.outcome = entry.outcome or outcome
                return
            if entry.answered_s is None:
                entry.answered_s, entry.reason, entry.outcome = time.monotonic(), reason, outcome
            digest = hashlib.sha256(payload).hexdigest()[:16]
            entry.answers[digest] = entry.answers.get(digest, 0) + 1

    def waiting(self, since_s: float = 0.0) -> list[str]:
        """Accepted at least `since_s` ago, and not answered yet."""
        before = time.monotonic() - since_s
        with self._lock:
            return [
                name
                for name, entry in self._entries.items()
                if entry.accepted_s is not None and entry.accepted_s <= before and _open(entry)
            ]

    def unacknowledged(self) -> int:
        """Sent, and neither acknowledged nor answered yet."""
        with self._lock:
            return sum(entry.accepted_s is None and _open(entry) for entry in self._entries.values())

    def differing(self) -> list[str]:
        """Answered more than once, and not the same each time."""
        with self._lock:
            return [name for name, entry in self._entries.items() if len(entry.answers) > 1]

    def entries(self) -> dict[str, Entry]:
        """All of them, at this moment."""
        with self._lock:
            return dict(self._entries)

    def outcomes(self) -> Counter[str]:
        """How many got what; who was told to come back and did, by what came of that."""
        with self._lock:
            return Counter(entry.outcome for entry in self._entries.values() if entry.outcome)

    def totals(self) -> dict[str, int]:
        """Counts of everything."""
        with self._lock:
            entries = list(self._entries.values())
        return {
            "sent": len(entries),
            "accepted": sum(entry.accepted_s is not None for entry in entries),
            "answered": sum(bool(entry.answers) for entry in entries),
            "answers": sum(sum(entry.answers.values()) for entry in entries),
            "shed": sum(entry.sheds > 0 for entry in entries),
            "lost": sum(entry.accepted_s is not None and _open(entry) for entry in entries),
            "answered_differently": sum(len(entry.answers) > 1 for entry in entries),
            "poison": sum(entry.reason == "poison" for entry in entries),
        }


def _open(entry: Entry) -> bool:
    return not entry.answers and not entry.sheds
