"""Fits confidences to labelled reports: the search's, and of what a model has chosen. Knows no terminal.

Beside each report as it is, two made from it: the same one where its entry is missing, which is to be
abstained from, and the same one asked of manuals in the other language. What the threshold is set by are the
reports that really have no entry.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from lineside import __version__
from lineside.diagnosis.knowledge.calibration_file import write_calibration
from lineside.diagnosis.knowledge.fusion import (
    Calibration,
    ChoiceWeights,
    Features,
    Fused,
    Kind,
    Weights,
    features_of,
    kind_of,
    log_odds,
    probability,
)
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.text_search import comparable
from lineside.diagnosis.knowledge.vectors import Embedder
from lineside.engine.bundle import sha256_file
from lineside.evaluation.cases import ENTRIES, REPORTS, Base, Case, EvaluationError, build_bases, read_cases
from lineside.evaluation.fit import abstaining, logistic, worth_most
from lineside.evaluation.outcome import Outcome
from lineside.evaluation.rereading import Reading, fitted_reading
from lineside.evaluation.run import open_bases

# An entry's siblings resemble it: taken away, it is missed far less clearly than a fault that no manual has.
MISSING_WEIGHT = 0.2
# Of the reports that have no entry, so many are to be abstained from. Across languages vectors alone decide:
# asked for as much there, the threshold would lose more than half of the right answers.
ABSTAIN_SHARES: dict[Kind, float] = {"short": 0.95, "long": 0.95, "foreign": 0.75}
# Fewer choices of a model teach three weights nothing.
MIN_CHOICES = 20
# The knowledge bases in which every report finds its manual in the other language.
OTHER_BASES: tuple[Base, ...] = ("zh_only", "en_only")
KINDS: tuple[Kind, ...] = ("short", "long", "foreign")


class Example(NamedTuple):
    """A ranking and whether its first entry is the right one. `own`: the report as it is."""

    id: str
    kind: Kind
    features: Features
    right: bool
    weight: float
    no_entry: bool
    own: bool


class Asked(NamedTuple):
    """What models made of the reports, by their names: their answers, and what they read again."""

    answered: Mapping[str, Sequence[Outcome]] = {}
    read: Mapping[str, Sequence[Reading]] = {}


def examples_of(
    cases: Sequence[Case], searchers: Mapping[str, Searcher], advance: Callable[[], None]
) -> list[Example]:
    """What there is to fit to. Searches every report several times."""
    examples: list[Example] = []
    for case in cases:
        examples += _examples(case, searchers)
        advance()
    return examples


def fitted(examples: Sequence[Example]) -> Calibration:
    """Weights and thresholds. Raises EvaluationError where the examples show too little."""
    weights = {kind: _weights([one for one in examples if one.kind == kind], kind) for kind in KINDS}
    return Calibration(format=1, short=weights["short"], long=weights["long"], foreign=weights["foreign"])


def choices_of(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those in which a model has chosen among what was found by text."""
    return [one for one in outcomes if one.choice is not None and one.status == "ok"]


def fitted_choice(choices: Sequence[Outcome]) -> ChoiceWeights:
    """Of one model. Raises EvaluationError where there are too few choices, or all alike."""
    right = [one.right for one in choices]
    if len(right) < MIN_CHOICES or len(set(right)) < 2:
        raise _too_little(f"{MIN_CHOICES} choices of the model, right and wrong ones")
    features = [(log_odds(one.score), log_odds(one.choice or 0.0)) for one in choices]
    bias, score, choice = logistic(features, right, [1.0] * len(right))
    weights = ChoiceWeights(threshold=0.0, bias=bias, score=score, choice=choice)
    sure = [weights.probability(one.score, one.choice or 0.0) for one in choices]
    return msgspec.structs.replace(weights, threshold=worth_most(sure, right))


def calibrate_file(
    data: Path,
    embedder: Embedder | None,
    path: Path,
    progress: Callable[[str, int], Callable[[], None]],
    ask: Callable[[Calibration], Asked] | None = None,
) -> Calibration:
    """Calibrate on the labelled reports in `data`, and on what models made of them; write `path`.

    `ask`: what they make of the reports where the search has that calibration.
    """
    if embedder is None:
        hint = "name a bundle that was built with --embedder: --bundle DIR"
        raise EvaluationError("calibrate", "there is no embedder whose confidence could be fitted", hint)
    cases = read_cases(data / REPORTS)
    with tempfile.TemporaryDirectory(prefix="lineside-eval-") as scratch:
        bases = build_bases(data, cases, Path(scratch), *OTHER_BASES)
        with open_bases(bases, embedder, lambda _: None) as searchers:
            found = fitted(examples_of(cases, searchers, progress("calibrate", len(cases))))
    origin: dict[str, str | int | float] = {
        "reports": len(cases),
        "reports_sha256": sha256_file(data / REPORTS),
        "entries_sha256": sha256_file(data / ENTRIES),
        "embedder": embedder.key,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "lineside": __version__,
    }
    found = msgspec.structs.replace(found, origin=origin)
    asked = ask(found) if ask else Asked()
    choices = {name: fitted_choice(choices_of(made)) for name, made in asked.answered.items()}
    reading = {name: fitted_reading(made) for name, made in asked.read.items()}
    found = msgspec.structs.replace(found, models=choices, reading=reading)
    write_calibration(path, calibration_toml(found))
    return found


def calibration_toml(calibration: Calibration) -> str:
    """The file that fusion.py reads."""
    lines = [
        "# How likely the first entry of a ranking is the right one, for each kind of text. The probability",
        "# is 1 / (1 + exp(-odds)); odds = bias + words * w^3 + vector * cosine + margin * lead over second",
        "# + unknown_code where a code was reported that no entry has. For a model's choice: odds = bias",
        "# + score * log odds of the above + choice * log odds of its own probability. For an entry that a",
        "# model has read the text behind: see reading in docs/retrieval.md.",
        "# Written by lineside eval --calibrate.",
        "",
        f"format = {calibration.format}",
    ]
    tables = msgspec.to_builtins(calibration)
    del tables["format"]
    for kind in ("models", "reading"):
        by_model = tables.pop(kind)
        tables |= {f"{kind}.{json.dumps(name, ensure_ascii=False)}": one for name, one in by_model.items()}
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _weights(examples: Sequence[Example], kind: Kind) -> Weights:
    if len({one.right for one in examples}) < 2:
        raise _too_little(f"right and wrong answers to {kind} texts")
    bias, words, vector, margin, code = logistic(
        [one.features for one in examples], [one.right for one in examples], [one.weight for one in examples]
    )
    weights = Weights(threshold=0.0, bias=bias, words=words, vector=vector, margin=margin, unknown_code=code)
    missing = [probability(one.features, weights) for one in examples if one.no_entry]
    if not missing:
        raise _too_little(f"{kind} texts without an entry")
    return msgspec.structs.replace(weights, threshold=abstaining(missing, ABSTAIN_SHARES[kind]))


def _examples(case: Case, searchers: Mapping[str, Searcher]) -> Iterator[Example]:
    query = Query.of(case.report)
    if not query.text or case.expect.conflict:
        return
    other = "zh_only" if case.lang == "en" else "en_only"
    for name in dict.fromkeys((case.kb, other)):
        ranked = searchers[name].ranking(query)
        if not ranked:
            continue
        example = _example(case, query, ranked)
        yield example._replace(own=name == case.kb)
        others = [one for one in ranked if one.found.entry.id != case.expect.entry]
        if others and len(others) < len(ranked):
            yield _example(case, query, others)._replace(weight=MISSING_WEIGHT)


def _example(case: Case, query: Query, ranked: list[Fused]) -> Example:
    entry = ranked[0].found.entry
    return Example(
        id=case.id,
        kind=kind_of(query.text, comparable=comparable(entry, query.text)),
        features=features_of(ranked, code=bool(query.code)),
        right=entry.id == case.expect.entry,
        weight=1.0,
        no_entry=case.expect.abstain,
        own=False,
    )


def _too_little(what: str) -> EvaluationError:
    return EvaluationError("calibrate", f"the labelled data has no {what}", "calibrate on more of them")
