"""A small set of labelled data, written for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = (
    ("Motor hot", "电机过热"),
    ("Brake stuck", "抱闸卡住"),
    ("Pressure low", "压力过低"),
    ("Belt slips", "皮带打滑"),
)


def line(source: str, code: str, english: str, chinese: str) -> dict[str, Any]:
    """An entry as fault_codes.jsonl has it."""
    return {
        "source": source,
        "unit": "drive",
        "code": code,
        "sev": None,
        "en": {"title": english, "cause": f"{english} cause", "action": "Look at it."},
        "zh": {"title": chinese, "cause": "", "action": ""},
    }


def case(
    number: int, kind: str, alarm: dict[str, str], expect: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """A report as reports.jsonl has it."""
    device = {"id": "L1/M1", "vendor": "Pell", "unit": "drive"} | more.pop("dev", {})
    report = {"v": 1, "locale": "en", "dev": device, "alarm": alarm}
    return {"id": f"r{number}", "kind": kind, "lang": "en", "report": report, "expect": expect} | more


def cases() -> list[dict[str, Any]]:
    """Every outcome that a label can ask for."""
    return [
        case(1, "code", {"code": "1"}, {"entry": "pell:drive:1"}),
        case(2, "code_spelling", {"code": "E-02"}, {"entry": "pell:drive:2"}),
        case(
            3, "code_no_vendor", {"code": "1"}, {"conflict": ["orrin:drive:1", "pell:drive:1"]},
            dev={"vendor": "", "unit": ""},
        ),
        case(4, "title_garbled", {"text": "Pressure low"}, {"entry": "pell:drive:3"}),
        case(5, "cross_language", {"text": "belt slips again"}, {"entry": "pell:drive:4"}, kb="zh_only"),
        case(6, "no_entry", {"code": "99", "text": "Fan noise"}, {"abstain": True}),
        case(
            7, "title_garbled", {"text": "Orrin thing"}, {"entry": "orrin:drive:1"}, dev={"vendor": "Orrin"}
        ),
    ]  # fmt: skip


def write_data(directory: Path, reports: list[dict[str, Any]] | None = None) -> Path:
    """fault_codes.jsonl, reports_held_entries.txt, reports.jsonl."""
    entries = [line("pell", str(n), *titles) for n, titles in enumerate(TITLES, 1)]
    entries += [line("orrin", "1", "Orrin thing", "别的"), line("pell", "9", "Fan noise", "风扇")]
    entries += [line("pell", "8", "Twice", "两次"), line("pell", "8", "Twice", "两次")]
    _write(directory / "fault_codes.jsonl", entries)
    _write(directory / "reports.jsonl", cases() if reports is None else reports)
    (directory / "reports_held_entries.txt").write_text("pell:drive:9\n")
    return directory


def write_questions(directory: Path) -> Path:
    """Two assets; on both, the option `right` is right, and `trap` is only on one."""
    questions = [
        {
            "id": number,
            "question": f"Which sensor tells of fault {number}?",
            "options": options,
            "correct": [option == right for option in options],
            "asset_name": asset,
        }
        for number, (asset, right, options) in enumerate(
            [
                ("fan", "right", ["other", "right"]),
                ("fan", "trap", ["trap", "other"]),
                ("pump", "right", ["right", "other"]),
                ("pump", "other", ["trap", "other"]),
            ]
        )
    ]
    _write(directory / "failuresensoriq_10options.jsonl", questions)
    return directory


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines), "utf-8")
