"""Mappings made of text, and what comes out of them."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

from lineside.gateways.gateways import load_gateways

SHANGHAI = "Asia/Shanghai"
ZONE = ZoneInfo(SHANGHAI)


def gateways(directory: Path, text: str, timezone: str = SHANGHAI):
    path = directory / "gateway.toml"
    path.write_text(text, "utf-8")
    return load_gateways([path], timezone)


def reports(directory: Path, text: str, payload: object, topic: str = "g/L1/M1"):
    """What the message becomes: documents, or (field, message) of what was refused."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    mapped = gateways(directory, text).read(topic, raw)
    return [
        json.loads(one.payload) if one.refusal is None else (one.refusal.field, one.refusal.message)
        for one in mapped
    ]


def simple(report: str, more: str = "") -> str:
    """A mapping of g/<line>/<machine> with these lines below [mapping.report]."""
    return f'[[mapping]]\ntopic = "g/+/+"\n{more}\n[mapping.report]\n{report}\n'
