"""What is published of an examination: flat, bounded, for a dashboard. Knows nothing of how it travels."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from lineside import __version__
from lineside.doctor.finding import Finding, worst

MAX_TOLD = 32
MAX_BYTES = 16_384


def health_document(findings: Sequence[Finding], client_id: str, now_s: float) -> bytes:
    """One JSON object: the whole's state, what was measured, and what is wrong, at most 16 KiB."""
    wrong = [found for found in findings if found.state in ("problem", "warning")]
    wrong.sort(key=lambda found: found.state != "problem")
    values = {name: value for found in findings for name, value in found.values.items()}
    whole = {
        "v": 1,
        "client_id": client_id,
        "version": __version__,
        "checked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s)),
        "health": worst(findings),
        "problems": sum(found.state == "problem" for found in findings),
        "warnings": sum(found.state == "warning" for found in findings),
        "unknown": sum(found.state == "unknown" for found in findings),
        **dict(sorted(values.items())),
    }
    told = [f"{found.state}: {found.name}: {found.seen}"[:200] for found in wrong[:MAX_TOLD]]
    while len(document := msgspec.json.encode(whole | {"wrong": told})) > MAX_BYTES and told:
        told.pop()
    return document
