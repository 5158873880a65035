"""Fits the search's confidence to labelled reports. Knows no files and no terminal.

Beside each report as it is, two made from it: the same one where its entry is missing, which is to be
abstained from, and the same one asked of manuals in the other language. What the threshold is set by are the
reports that really have no entry.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lineside.diagnosis.knowledge.fusion import (
    Calibration,
    Features,
    Fused,
    Kind,
    Weights,
    features_of,
    kind_of,
    probability,
)
from lineside.diagnosis.knowledge.search import Query, Searcher
from lineside.diagnosis.knowledge.text_search import comparable
from lineside.diagnosis.knowledge.vectors import Embedder
from lineside.engine.bundle import sha256_file
from lineside.evaluation.cases import ENTRIES, REPORTS, Case, EvaluationError, build_bases, read_cases
from lineside.evaluation.run import open_bases

# An entry's siblings resemble it: taken away, it is missed far less clearly than a fault that no manual has.
MISSING_WEIGHT = 0.2
# Of the reports that have no entry, so many are to be abstained from. Across languages vectors alone decide:
# asked for as much there, the threshold would lose more than half of the right answers.
ABSTAIN_SHARES: dict[Kind, float] = {"short": 0.95, "long": 0.95, "foreign": 0.75}
# An answer that is wrong three times of four helps nobody, whatever the reports without an entry allow.
THRESHOLDS = tuple(step / 100 for step in range(25, 91))
_PENALTY = 1.0
_ROUNDS = 50
_KINDS: tuple[Kind, ...] = ("short", "long", "foreign")


class Example(NamedTuple):
    """A ranking and whether its first entry is the right one."""

    kind: Kind
    features: Features
    right: bool
    weight: float
    no_entry: bool


def calibrate(
    cases: Sequence[Case], searchers: Mapping[str, Searcher], advance: Callable[[], None]
) -> Calibration:
    """Weights and threshold for what `cases` show. Raises EvaluationError where they show too little."""
    examples: list[Example] = []
    for case in cases:
        examples += _examples(case, searchers)
        advance()
    weights = {kind: _weights([one for one in examples if one.kind == kind], kind) for kind in _KINDS}
    return Calibration(short=weights["short"], long=weights["long"], foreign=weights["foreign"])


def calibrate_file(
    data: Path, embedder: Embedder | None, path: Path, progress: Callable[[str, int], Callable[[], None]]
) -> Calibration:
    """Calibrate on the labelled reports in `data` and write `path`."""
    if embedder is None:
        hint = "name a bundle that was built with --embedder: --bundle DIR"
        raise EvaluationError("calibrate", "there is no embedder whose confidence could be fitted", hint)
    cases = read_cases(data / REPORTS)
    with tempfile.TemporaryDirectory(prefix="lineside-eval-") as scratch:
        bases = build_bases(data, cases, Path(scratch), "zh_only", "en_only")
        with open_bases(bases, embedder, lambda _: None) as searchers:
            found = calibrate(cases, searchers, progress("calibrate", len(cases)))
    origin: dict[str, str | int | float] = {
        "reports": len(cases),
        "reports_sha256": sha256_file(data / REPORTS),
        "entries_sha256": sha256_file(data / ENTRIES),
        "embedder": embedder.key,
    }
    found = msgspec.structs.replace(found, origin=origin)
    try:
        path.write_text(calibration_toml(found), "utf-8")
    except OSError as error:
        hint = "name a file in a directory that exists and may be written"
        raise EvaluationError("write calibration", f"{path}: {error.strerror}", hint) from error
    return found


def calibration_toml(calibration: Calibration) -> str:
    """The file that fusion.py reads."""
    lines = [
        "# How likely the first entry of a ranking is the right one, for each kind of text. The probability",
        "# is 1 / (1 + exp(-odds)); odds = bias + words * w^3 + vector * cosine + margin * lead over second",
        "# + unknown_code where a code was reported that no entry has. Written by lineside eval --calibrate.",
    ]
    for name, table in msgspec.to_builtins(calibration).items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _weights(examples: Sequence[Example], kind: Kind) -> Weights:
    fitted = _fit(examples, kind)
    missing = [probability(one.features, fitted) for one in examples if one.no_entry]
    if not missing:
        raise _too_little(f"{kind} texts without an entry")
    share = ABSTAIN_SHARES[kind]
    threshold = next((level for level in THRESHOLDS if _below(missing, level) >= share), THRESHOLDS[-1])
    return msgspec.structs.replace(fitted, threshold=threshold)


def _examples(case: Case, searchers: Mapping[str, Searcher]) -> Iterator[Example]:
    query = Query.of(case.report)
    if not query.text or case.expect.conflict:
        return
    other = "zh_only" if case.lang == "en" else "en_only"
    for name in dict.fromkeys((case.kb, other)):
        ranked = searchers[name].ranking(query)
        if not ranked:
            continue
        yield _example(case, query, ranked, 1.0)
        others = [one for one in ranked if one.found.entry.id != case.expect.entry]
        if others and len(others) < len(ranked):
            yield _example(case, query, others, MISSING_WEIGHT)


def _example(case: Case, query: Query, ranked: list[Fused], weight: float) -> Example:
    entry = ranked[0].found.entry
    return Example(
        kind_of(query.text, comparable=comparable(entry, query.text)),
        features_of(ranked, code=bool(query.code)),
        entry.id == case.expect.entry,
        weight,
        case.expect.abstain,
    )


def _fit(examples: Sequence[Example], kind: Kind) -> Weights:
    """Logistic regression by Newton's method, with a penalty on the weights of standardised features."""
    if len({one.right for one in examples}) < 2:
        raise _too_little(f"right and wrong answers to {kind} texts")
    values = np.array([one.features for one in examples], np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    table = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    right = np.array([one.right for one in examples], np.float64)
    shares = np.array([one.weight for one in examples], np.float64)
    found = _newton(table, right, shares)
    slopes = found[1:] / spread
    bias = float(found[0] - slopes @ mean)
    bias, words, vector, margin, code = (round(float(value), 4) for value in (bias, *slopes))
    return Weights(threshold=0.0, bias=bias, words=words, vector=vector, margin=margin, unknown_code=code)


def _newton(
    table: NDArray[np.float64], right: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    penalty = np.diag([0.0] + [_PENALTY] * (table.shape[1] - 1))
    found = np.zeros(table.shape[1])
    for _ in range(_ROUNDS):
        odds = 1 / (1 + np.exp(-table @ found))
        slope = table.T @ (shares * (odds - right)) + penalty @ found
        curve = (table * (shares * odds * (1 - odds))[:, None]).T @ table + penalty
        found = found - np.linalg.solve(curve, slope)
    return found


def _below(values: Iterable[float], threshold: float) -> float:
    chosen = list(values)
    return sum(value < threshold for value in chosen) / len(chosen)


def _too_little(what: str) -> EvaluationError:
    return EvaluationError("calibrate", f"the labelled data has no {what}", "calibrate on more of them")
