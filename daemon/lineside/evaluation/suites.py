"""The suites: what each of them reads, asks and measures. Knows nothing of terminals and of files written."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from lineside.diagnosis.knowledge.fusion import Calibration
from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.knowledge.vectors import Embedder
from lineside.diagnosis.writer import Reader
from lineside.evaluation import rereading, sensoriq
from lineside.evaluation.calibrate import OTHER_BASES, examples_of
from lineside.evaluation.cases import (
    APPROVER,
    REPORTS,
    Base,
    Case,
    EvaluationError,
    build_bases,
    read_cases,
    sample_cases,
)
from lineside.evaluation.metrics import curve_of, goals_of, rows_of
from lineside.evaluation.outcome import Outcome
from lineside.evaluation.reliability import Reliability, of_model, of_search
from lineside.evaluation.run import RULES, By, ask, open_bases

ReportSuite = Literal["plant", "reports"]
Progress = Callable[[str, int], Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the data is, about how many reports and questions models are asked (0: all), and the embedder.

    `calibration`: the search's, where it is not the shipped one. `rereading`: models that it knows read.
    `scratch`: where knowledge bases and their vectors are kept from one suite and model to the next.
    """

    data: Path
    plant: Path
    embedder: Embedder | None = None
    sample: int = 0
    questions: int = 0
    seed: int = 1
    timeout_s: float = 120.0
    calibration: Calibration | None = None
    rereading: bool = True
    scratch: Path | None = None


@dataclass(slots=True)
class Result:
    """What a suite found, by rules or by a model: `metrics` by name, `table` for people, raw `samples`."""

    suite: str
    mode: str
    metrics: dict[str, float] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    samples: list[list[Any]] = field(default_factory=list)
    reliability: list[dict[str, Any]] = field(default_factory=list)


SAMPLE_FIELDS = (
    "id",
    "status",
    "right",
    "ranked_first",
    "conf",
    "score",
    "choice",
    "unsupported",
    "latency_ms",
)


async def run_suite(suite: ReportSuite, plan: Plan, by: By, progress: Progress) -> Result:
    """A suite of reports. Raises EvaluationError where data is missing."""
    outcomes, trust = await _asked(suite, plan, by, progress)
    return _result(suite, by.name, outcomes, trust)


async def asked(suite: ReportSuite, plan: Plan, by: By, progress: Progress) -> list[Outcome]:
    """What came of a suite's reports, without any sums."""
    outcomes, _ = await _asked(suite, plan, by, progress)
    return outcomes


async def _asked(
    suite: ReportSuite, plan: Plan, by: By, progress: Progress
) -> tuple[list[Outcome], list[Reliability]]:
    with _directory(suite, plan) as directory:
        cases = _cases(suite, plan)
        # The search's confidence is measured on all that is labelled; a sample is too few.
        fits = suite == "reports" and by == By() and plan.embedder is not None and not plan.sample
        bases = _bases(suite, plan, cases, directory, *(OTHER_BASES if fits else ()))
        chosen = sample_cases(cases, plan.sample, plan.seed) if plan.sample else cases
        with open_bases(bases, plan.embedder, lambda name: None, plan.calibration) as searchers:
            advance = progress(f"{suite}, {by.name}", len(chosen))
            outcomes = await ask(chosen, searchers, by, timeout_s=plan.timeout_s, advance=advance)
            if not fits:
                return outcomes, of_model(outcomes)
            advance = progress("confidence, by halves", len(cases))
            return outcomes, of_search(examples_of(cases, searchers, advance))


@contextlib.contextmanager
def _directory(suite: ReportSuite, plan: Plan) -> Iterator[Path]:
    """For the suite's knowledge bases."""
    if plan.scratch is not None:
        directory = plan.scratch / suite
        directory.mkdir(exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="lineside-eval-") as scratch:
        yield Path(scratch)


def _cases(suite: ReportSuite, plan: Plan) -> list[Case]:
    return read_cases((plan.plant if suite == "plant" else plan.data) / REPORTS)


def _bases(
    suite: ReportSuite, plan: Plan, cases: Sequence[Case], directory: Path, *more: Base
) -> dict[str, Path]:
    if suite == "reports":
        return build_bases(plan.data, cases, directory, *more)
    manuals = sorted((plan.plant / "knowledge").glob("*.yaml"))
    if not manuals:
        hint = "name the demo's directory with --plant"
        raise EvaluationError("read plant", f"{plan.plant}/knowledge has no manuals", hint)
    base = directory / "full.db"
    if not base.exists():
        import_files(base, manuals, ImportOptions(approve_by=APPROVER))
    return {"full": base}


def _result(
    suite: ReportSuite, mode: str, outcomes: Sequence[Outcome], trust: Sequence[Reliability]
) -> Result:
    statements = sum(one.statements for one in outcomes)
    unsupported = sum(one.unsupported for one in outcomes)
    metrics = goals_of(outcomes) | {"reports": float(len(outcomes))}
    if mode.startswith(RULES):
        metrics["unsupported_statements_rules"] = float(unsupported)
    else:
        metrics["unsupported_statements_model_fraction"] = round(unsupported / max(statements, 1), 4)
        metrics["answered_by_model"] = float(sum(one.mode == "model" for one in outcomes))
    rows = rows_of(outcomes)
    metrics["right"] = rows[-1].right
    return Result(
        suite,
        mode,
        metrics,
        [msgspec.to_builtins(row) for row in rows],
        [msgspec.to_builtins(point) for point in curve_of(outcomes)],
        [[getattr(one, name) for name in SAMPLE_FIELDS] for one in outcomes],
        [msgspec.to_builtins(one) for one in trust],
    )


async def reread(plan: Plan, reader: Reader, progress: Progress) -> Result:
    """What the model's reading adds where report and manual are of two languages."""
    found = await read_again(plan, reader, progress)
    rows = [msgspec.to_builtins(row) for row in rereading.rows_of(found)]
    return Result("rereading", reader.model_name, table=rows, samples=[list(one) for one in found])


async def read_again(plan: Plan, reader: Reader, progress: Progress) -> list[rereading.Reading]:
    """What the model makes of all reports whose manuals are in another language."""
    if plan.embedder is None:
        hint = "name a bundle that was built with --embedder: --bundle DIR"
        raise EvaluationError("measure rereading", "across languages nothing is found without vectors", hint)
    cases = _cases("reports", plan)
    with _directory("reports", plan) as directory:
        bases = _bases("reports", plan, cases, directory, *OTHER_BASES)
        with open_bases(bases, plan.embedder, lambda name: None, plan.calibration) as searchers:
            advance = progress(f"rereading, {reader.model_name}", len(cases))
            return await rereading.readings(cases, searchers, reader, advance)


def sensoriq_by_rules(plan: Plan) -> Result:
    """Chance, and what the options' own frequencies are worth."""
    return _priors(sensoriq.read_questions(plan.data / sensoriq.QUESTIONS), "rules")


async def sensoriq_by_model(plan: Plan, name: str, scorer: sensoriq.Scorer, progress: Progress) -> Result:
    """The model's options beside the same priors."""
    questions = sensoriq.read_questions(plan.data / sensoriq.QUESTIONS)
    result = _priors(questions, name)
    asked = sensoriq.sample_questions(questions, plan.questions or plan.sample, plan.seed)
    advance = progress(f"sensoriq, {name}", len(asked))
    likeliest = beyond = 0
    async for one in sensoriq.answered(asked, scorer, advance):
        likeliest += one.likeliest_right
        beyond += one.beyond_prior_right
        question = one.question
        result.samples.append([question.asset_name, question.id, one.likeliest_right, one.beyond_prior_right])
    result.metrics["asked"] = float(len(asked))
    result.metrics["accuracy_of_the_likeliest"] = round(likeliest / len(asked), 4)
    result.metrics["accuracy"] = round(beyond / len(asked), 4)
    result.metrics["chance_on_the_asked"] = sensoriq.chance(asked)
    result.metrics["prior_on_the_asked"] = sensoriq.prior_on(questions, asked)
    return result


def _priors(questions: Sequence[sensoriq.Question], mode: str) -> Result:
    result = Result("sensoriq", mode)
    result.metrics = {
        "questions": float(len(questions)),
        "chance": sensoriq.chance(questions),
        "prior": sensoriq.prior(questions),
        "prior_nothing_held_out": sensoriq.prior_seen(questions),
    }
    by_asset = sensoriq.prior_by_asset(questions)
    result.table = [{"asset": asset, "prior": score} for asset, score in by_asset.items()]
    return result
