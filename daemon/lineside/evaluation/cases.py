"""Labelled reports and the manuals they are about, read from files. Knows not how they are answered."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.report import Report
from lineside.errors import LinesideError
from lineside.plain_files import read_plain

DATA_VARIABLE = "LINESIDE_EVAL_DATA"
# Knowledge bases of an evaluation live as long as it: nobody has to read them first.
MAX_FILE_BYTES = 64 << 20
APPROVER = "evaluation"
REPORTS, ENTRIES, HELD = "reports.jsonl", "fault_codes.jsonl", "reports_held_entries.txt"
Base = Literal["full", "cause_not_indexed", "zh_only", "en_only"]
Line = dict[str, Any]


class EvaluationError(LinesideError):
    """An evaluation that cannot be run as asked."""


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """What is right: this entry, a conflict that names all of these, or an abstention."""

    entry: str = ""
    conflict: tuple[str, ...] = ()
    abstain: bool = False


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled report. `kb` names the knowledge base that it is asked of."""

    id: str
    kind: str
    lang: str
    report: Report
    expect: Expect
    kb: Base = "full"


def data_directory() -> Path:
    """Where LINESIDE_EVAL_DATA points; ../shared/data unless it is set."""
    return Path(os.environ.get(DATA_VARIABLE) or "../shared/data")


def read_cases(path: Path) -> list[Case]:
    """The labelled reports of a file. Raises EvaluationError naming the line and the field."""
    cases = [_case(line, f"{path}, line {number}") for number, line in enumerate(lines_of(path), 1)]
    if not cases:
        raise EvaluationError("read reports", f"{path} holds no report", "name a file of labelled reports")
    return cases


def _case(line: bytes, where: str) -> Case:
    try:
        return msgspec.json.decode(line, type=Case)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "every line is an object with id, kind, lang, report and expect"
        raise EvaluationError("read reports", f"{where}: {error}", hint) from error


def sample_cases(cases: Sequence[Case], size: int, seed: int) -> list[Case]:
    """About `size` of them, of every kind and language its share; the same ones for the same seed."""
    if size >= len(cases):
        return list(cases)
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.kind, case.lang), []).append(case)
    chosen: list[Case] = []
    for key in sorted(groups):
        share = max(1, round(size * len(groups[key]) / len(cases)))
        # Of every group by itself: another group more changes nothing here.
        rng = random.Random(f"{seed} {key}")  # noqa: S311 a sample, no secret
        chosen += rng.sample(groups[key], min(share, len(groups[key])))
    return chosen


def build_bases(data: Path, cases: Sequence[Case], directory: Path, *more: Base) -> dict[str, Path]:
    """A knowledge base in `directory` for each kind that the cases name, and for those named besides.

    One that is there already is taken as it is.
    """
    lines = _entries(data)
    vendors = _vendors(cases, {str(line["source"]) for line in lines})
    return {
        kind: _build(kind, lines, vendors, directory)
        for kind in sorted({*more, *(case.kb for case in cases)})
    }


def _build(kind: str, lines: Sequence[Line], vendors: dict[str, str], directory: Path) -> Path:
    base = directory / f"{kind}.db"
    if base.exists():
        return base
    for source in sorted({str(line["source"]) for line in lines}):
        path = directory / f"{kind}.{source}.jsonl"
        own = [_cut(line, kind) for line in lines if line["source"] == source]
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in own), "utf-8")
        options = ImportOptions(vendor=vendors.get(source, ""), approve_by=APPROVER)
        import_files(base, [path], options)
    return base


def _cut(line: Line, kind: str) -> Line:
    """The line as that base has it."""
    left_out = {"zh_only": "en", "en_only": "zh"}.get(kind)
    cut = {name: value for name, value in line.items() if name != left_out}
    if kind == "cause_not_indexed":
        for language in ("en", "zh"):
            if language in cut:
                cut[language] = {**cut[language], "cause": ""}
    return cut


def _entries(data: Path) -> list[Line]:
    """The manuals' entries, without those that are held back and without keys that stand twice."""
    held = set(_text_lines(data / HELD)) if (data / HELD).exists() else set()
    lines: list[tuple[str, Line]] = []
    for number, line in enumerate(lines_of(data / ENTRIES), 1):
        try:
            entry = json.loads(line)
            key = f"{entry['source']}:{entry.get('unit', '')}:{entry['code']}"
        except (ValueError, KeyError, TypeError) as error:
            hint = "every line is an object with source, unit, code, en and zh"
            raise EvaluationError(
                "read entries", f"{data / ENTRIES}, line {number}: {error}", hint
            ) from error
        lines.append((key, entry))
    counts = Counter(key for key, _ in lines)
    return [entry for key, entry in lines if key not in held and counts[key] == 1]


def _vendors(cases: Sequence[Case], sources: set[str]) -> dict[str, str]:
    """The vendor of each source, as its own reports name it: what somebody who imports a manual knows."""
    named: dict[str, Counter[str]] = {source: Counter() for source in sources}
    for case in cases:
        source = case.expect.entry.partition(":")[0]
        if source in named and case.report.dev.vendor:
            named[source][case.report.dev.vendor] += 1
    return {source: counts.most_common(1)[0][0] for source, counts in named.items() if counts}


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file that are not empty. Raises EvaluationError where it cannot be read."""
    try:
        content = read_plain(path, MAX_FILE_BYTES)
    except OSError as error:
        hint = f"let {DATA_VARIABLE} name the directory that has it, or leave the suite out with --suite"
        raise EvaluationError("read evaluation data", f"{path}: {error.strerror}", hint) from error
    return (line for line in content.splitlines() if line.strip())


def _text_lines(path: Path) -> list[str]:
    return [line.decode().strip() for line in lines_of(path)]
