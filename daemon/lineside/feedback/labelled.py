"""Verdicts as labelled data, in the shape that the evaluation reads. Knows nothing of files."""

from __future__ import annotations

from typing import Any

import msgspec

from lineside.feedback.store import Case


def labelled(case: Case) -> dict[str, Any]:
    """One line: the report, what is to be expected of it, and who says so.

    `expect` names the entry or the conflict that was right, or that silence was; of a wrong answer it names
    the plant's entry that came of it, else only what it is `not`.
    """
    diagnosis = case.issued.diagnosis
    return {
        "id": case.id,
        "kind": "feedback",
        "lang": diagnosis.lang,
        "kb_version": diagnosis.kb,
        "report": msgspec.to_builtins(case.issued.report),
        "expect": _expected(case),
        "state": case.state,
        "feedback": msgspec.to_builtins(case.feedback),
        "received_at": case.received_at,
        "decision": msgspec.to_builtins(case.decision),
    }


def can_be_scored(line: dict[str, Any]) -> bool:
    """Whether an evaluation can tell from it what is right, not only what is wrong."""
    return "not" not in line["expect"]


def _expected(case: Case) -> dict[str, Any]:
    entries = case.issued.entries
    if case.decision is not None and case.decision.entry:
        return {"entry": case.decision.entry}
    if case.feedback.verdict == "wrong":
        return {"not": list(entries[:1])}
    if case.issued.diagnosis.status == "ok":
        return {"entry": entries[0]}
    return {"conflict": list(entries)} if entries else {"abstain": True}
