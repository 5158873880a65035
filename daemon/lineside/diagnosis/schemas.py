"""The published JSON Schemas of report and diagnosis. Knows nothing of files."""

from __future__ import annotations

from typing import Any

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """By the names of their files' stems."""
    return {
        name: _plain({"$schema": _DIALECT, **msgspec.json.schema(kind)})
        for name, kind in (("report", Report), ("diagnosis", Diagnosis))
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it: defaults that are tuples become lists."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain
