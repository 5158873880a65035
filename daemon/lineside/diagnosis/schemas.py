"""The published JSON Schemas of what travels. Knows nothing of files."""

from __future__ import annotations

from typing import Any

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report
from lineside.diagnosis.short import Brief
from lineside.feedback.verdict import Feedback, Receipt

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


_DOCUMENTS = {
    "report": Report,
    "diagnosis": Diagnosis,
    "brief": Brief,
    "feedback": Feedback,
    "receipt": Receipt,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """By the names of their files' stems."""
    return {
        name: _plain({"$schema": _DIALECT, **msgspec.json.schema(kind)}) for name, kind in _DOCUMENTS.items()
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it: defaults that are tuples become lists."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain
