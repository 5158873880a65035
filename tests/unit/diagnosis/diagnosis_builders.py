"""Entries, options and reports for tests, as short as they can be said."""

from lineside.diagnosis.knowledge.entry import Entry, Text
from lineside.diagnosis.knowledge.retrieval import Candidate, Retrieval
from lineside.diagnosis.report import Alarm, Device, Report


def text(title, **parts):
    return Text(title=title, **parts)


def entry(code="F012", title="Motor overtemperature", *, source="drive", zh=None, **fields):
    parts = {name: fields.pop(name) for name in ("meaning", "causes", "actions", "safety") if name in fields}
    english = Text(title=title, **parts) if title else None
    return Entry(source=source, code=code, en=english, zh=zh, **fields)


def report(code="F012", alarm_text="", *, locale="", sev=None, dev=None, **fields):
    device = Device(id="L1/M1", **(dev or {}))
    return Report(dev=device, alarm=Alarm(code=code, text=alarm_text, sev=sev), locale=locale, **fields)


def retrieval(verdict, *entries, score=1.0, by="code"):
    return Retrieval(verdict, tuple(Candidate(one, score, by) for one in entries), "1-abc", len(entries))
