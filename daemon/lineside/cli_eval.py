"""`lineside eval`: measures diagnoses on labelled reports. Knows nothing of how they are made or judged."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lineside.config import load_config

if TYPE_CHECKING:
    from lineside.diagnosis.knowledge.fusion import Calibration
    from lineside.diagnosis.knowledge.vectors import Embedder
    from lineside.evaluation.outcome import Outcome
    from lineside.evaluation.suites import Plan, Progress, Result

    class Keep(Protocol):
        """Writes what there is so far."""

        def __call__(self, results: list[Result], *, complete: bool) -> None:
            """`complete`: nothing is to come."""


_PIPE_COLUMNS = 120
_QUESTIONS = "sensoriq"
_SUITES = ("plant", "reports", _QUESTIONS)
_REREADING = "rereading"


def add_eval(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = commands.add_parser(
        "eval", parents=[common], help="measure diagnoses on labelled reports; nothing leaves the machine"
    )
    command.add_argument(
        "--suite",
        action="append",
        choices=(*_SUITES, _REREADING),
        help="which to run; may be repeated (default: all, and what a model would add by rereading not)",
    )
    command.add_argument(
        "--data", type=Path, metavar="DIR", help="labelled data (default: LINESIDE_EVAL_DATA, ../shared/data)"
    )
    command.add_argument("--plant", type=Path, metavar="DIR", default=Path("demo"), help="the demo plant")
    command.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a bundle whose embedder helps to search (default: none)"
    )
    command.add_argument(
        "--model", type=Path, action="append", default=[], metavar="BUNDLE",
        help="a bundle whose model is measured, too; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--sample",
        type=int,
        default=0,
        metavar="N",
        help="ask models about so many reports only (default: all)",
    )
    command.add_argument(
        "--questions",
        type=int,
        default=0,
        metavar="N",
        help="and so many of sensoriq's (default: as --sample)",
    )
    command.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    command.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="a model's answer (default: 120)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write metrics and samples there")
    command.add_argument(
        "--calibrate",
        type=Path,
        metavar="FILE",
        help="fit the confidence to the labelled reports, and each --model's, write it there",
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    import anyio  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from lineside.evaluation.cases import data_directory  # noqa: PLC0415
    from lineside.evaluation.output import (  # noqa: PLC0415
        document_of,
        origin_of,
        print_results,
        write_document,
    )
    from lineside.evaluation.suites import Plan  # noqa: PLC0415
    from lineside.loading import load_calibration  # noqa: PLC0415

    config = load_config(arguments.config)
    embedder = _embedder(arguments.bundle)
    # What is measured is what the daemon does with that configuration.
    calibration = load_calibration(config, embedder.key if embedder else "")
    plan = Plan(
        data=arguments.data or data_directory(),
        plant=arguments.plant,
        embedder=embedder,
        calibration=calibration,
        sample=arguments.sample,
        questions=arguments.questions,
        seed=arguments.seed,
        timeout_s=arguments.timeout,
    )
    if arguments.calibrate:
        _calibrate(plan, arguments.calibrate, arguments.model)
        return
    # Whose home it was is nobody's business.
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]).replace(str(Path.home()), "~")
    facts = {
        "embedder": embedder.key if embedder else "",
        "calibration": calibration.origin if calibration else "shipped",
        "seed": plan.seed,
    }
    origin = origin_of(command)

    def keep(results: list[Result], *, complete: bool) -> None:
        if arguments.json:
            document = document_of(results, origin, facts | {"complete": complete})
            write_document(arguments.json, document)

    with tempfile.TemporaryDirectory(prefix="lineside-eval-") as scratch:
        plan = dataclasses.replace(plan, scratch=Path(scratch))
        results = anyio.run(_evaluate, arguments, plan, keep)
    # What reads a pipe wants columns whole.
    print_results(Console() if sys.stdout.isatty() else Console(width=_PIPE_COLUMNS), results)


async def _evaluate(arguments: argparse.Namespace, plan: Plan, keep: Keep) -> list[Result]:
    """By rules over everything; by each model, and by rules once more, over the sample.

    What is measured is kept after every model: who stops the rest still has that.
    """
    from lineside.evaluation.cases import EvaluationError  # noqa: PLC0415
    from lineside.evaluation.suites import run_suite, sensoriq_by_rules  # noqa: PLC0415

    asked = dict.fromkeys(arguments.suite or _SUITES)
    if _REREADING in asked and not arguments.model:
        raise EvaluationError("measure rereading", "no model is named that could read", "--model BUNDLE")
    suites = [suite for suite in asked if suite not in (_QUESTIONS, _REREADING)]
    with _progress() as progress:
        whole = dataclasses.replace(plan, sample=0)
        results = [await run_suite(suite, whole, None, progress) for suite in suites]
        if arguments.model and plan.sample and "reports" in suites:
            sampled = await run_suite("reports", plan, None, progress)
            sampled.mode = "rules_on_the_sample"
            results.append(sampled)
        if _QUESTIONS in asked:
            results.append(sensoriq_by_rules(plan))
        for bundle in arguments.model:
            keep(results, complete=False)
            results += await _by_model(bundle, plan, suites, progress)
            results += await _by_likelihood(bundle, plan, asked, progress)
        keep(results, complete=True)
    return results


async def _by_model(bundle: Path, plan: Plan, suites: list[Any], progress: Progress) -> list[Result]:
    from lineside.evaluation.model import open_model  # noqa: PLC0415
    from lineside.evaluation.suites import run_suite  # noqa: PLC0415

    if not suites:
        return []
    async with open_model(bundle) as writer:
        return [await run_suite(suite, plan, writer, progress) for suite in suites]


async def _by_likelihood(
    bundle: Path, plan: Plan, suites: Collection[str], progress: Progress
) -> list[Result]:
    """The suites that read a model's likelihoods."""
    from lineside.engine.bundle import read_manifest  # noqa: PLC0415
    from lineside.evaluation.likelihood import open_scorer  # noqa: PLC0415
    from lineside.evaluation.suites import reread, sensoriq_by_model  # noqa: PLC0415

    runs = [run for suite, run in ((_QUESTIONS, sensoriq_by_model), (_REREADING, reread)) if suite in suites]
    if not runs:
        return []
    manifest = read_manifest(bundle)
    name = f"{manifest.name}-{manifest.precision}"
    async with open_scorer(bundle) as scorer:
        return [await run(plan, name, scorer, progress) for run in runs]


def _calibrate(plan: Plan, path: Path, models: list[Path]) -> None:
    import anyio  # noqa: PLC0415

    from lineside.evaluation.calibrate import KINDS, calibrate_file  # noqa: PLC0415

    with _progress() as progress:

        def ask(calibration: Calibration) -> dict[str, list[Outcome]]:
            return anyio.run(_choices, dataclasses.replace(plan, calibration=calibration), models, progress)

        calibration = calibrate_file(plan.data, plan.embedder, path, progress, ask)
    for kind in KINDS:
        print(f"{kind} texts: answered from a confidence of {calibration.weights(kind).threshold:g} on")
    for name, weights in calibration.models.items():
        print(f"what {name} chooses: answered from a confidence of {weights.threshold:g} on")


async def _choices(plan: Plan, models: list[Path], progress: Progress) -> dict[str, list[Outcome]]:
    """What each model made of the labelled reports."""
    from lineside.evaluation.model import open_model  # noqa: PLC0415
    from lineside.evaluation.suites import asked  # noqa: PLC0415

    found = {}
    for bundle in models:
        async with open_model(bundle) as writer:
            found[writer.model_name] = await asked("reports", plan, writer, progress)
    return found


def _embedder(bundle: Path | None) -> Embedder | None:
    if bundle is None:
        return None
    from lineside.embedder import OnnxEmbedder  # noqa: PLC0415
    from lineside.engine.bundle import open_bundle  # noqa: PLC0415

    return OnnxEmbedder(open_bundle(bundle))


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for each part, on standard error."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def start(label: str, total: int) -> Any:
            task = bars.add_task(label, total=total)
            return lambda: bars.advance(task)

        yield start
