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
    from lineside.evaluation.calibrate import Asked
    from lineside.evaluation.suites import Plan, Progress, ReportSuite, Result

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
        help="fit the confidence to the labelled reports and write it there; with it each --model's choices, "
        "or with --suite rereading its readings",
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
        rereading=config.diagnosis.rereading == "auto",
    )
    if arguments.calibrate:
        _calibrate(plan, arguments.calibrate, arguments.model, arguments.suite or _SUITES)
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
    from lineside.evaluation.run import By  # noqa: PLC0415
    from lineside.evaluation.suites import run_suite, sensoriq_by_rules  # noqa: PLC0415

    asked = dict.fromkeys(arguments.suite or _SUITES)
    if _REREADING in asked and not arguments.model:
        raise EvaluationError("measure rereading", "no model is named that could read", "--model BUNDLE")
    suites: list[ReportSuite] = [suite for suite in ("plant", "reports") if suite in asked]
    with _progress() as progress:
        whole = dataclasses.replace(plan, sample=0)
        results = [await run_suite(suite, whole, By(), progress) for suite in suites]
        if arguments.model and plan.sample and "reports" in suites:
            sampled = await run_suite("reports", plan, By(), progress)
            sampled.mode = "rules_on_the_sample"
            results.append(sampled)
        if _QUESTIONS in asked:
            results.append(sensoriq_by_rules(plan))
        for bundle in arguments.model:
            keep(results, complete=False)
            results += await _by_model(bundle, plan, asked, progress)
            if _QUESTIONS in asked:
                results.append(await _by_likelihood(bundle, plan, progress))
        keep(results, complete=True)
    return results


async def _by_model(bundle: Path, plan: Plan, suites: Collection[str], progress: Progress) -> list[Result]:
    """The model's answers, and the rules' where it reads what is in another language."""
    from lineside.diagnosis.knowledge.fusion import shipped_calibration  # noqa: PLC0415
    from lineside.evaluation.model import open_model  # noqa: PLC0415
    from lineside.evaluation.run import By  # noqa: PLC0415
    from lineside.evaluation.suites import reread, run_suite  # noqa: PLC0415

    answering: list[ReportSuite] = [suite for suite in ("plant", "reports") if suite in suites]
    if not answering and _REREADING not in suites:
        return []
    async with open_model(bundle) as model:
        reads = plan.rereading and model.name in (plan.calibration or shipped_calibration()).reading
        found = []
        if reads and "reports" in answering:
            by = By(reader=model.reader)
            found.append(await run_suite("reports", dataclasses.replace(plan, sample=0), by, progress))
        by = By(model.writer, model.reader if reads else None)
        found += [await run_suite(suite, plan, by, progress) for suite in answering]
        if _REREADING in suites:
            found.append(await reread(plan, model.reader, progress))
    return found


async def _by_likelihood(bundle: Path, plan: Plan, progress: Progress) -> Result:
    """The suite that reads a model's likelihoods of answers."""
    from lineside.engine.bundle import read_manifest  # noqa: PLC0415
    from lineside.evaluation.likelihood import open_scorer  # noqa: PLC0415
    from lineside.evaluation.suites import sensoriq_by_model  # noqa: PLC0415

    manifest = read_manifest(bundle)
    async with open_scorer(bundle) as scorer:
        return await sensoriq_by_model(plan, f"{manifest.name}-{manifest.precision}", scorer, progress)


def _calibrate(plan: Plan, path: Path, models: list[Path], suites: Collection[str]) -> None:
    import anyio  # noqa: PLC0415

    from lineside.evaluation.calibrate import KINDS, calibrate_file  # noqa: PLC0415

    with _progress() as progress:

        def ask(calibration: Calibration) -> Asked:
            taught = dataclasses.replace(plan, calibration=calibration)
            return anyio.run(_asked, taught, models, suites, progress)

        calibration = calibrate_file(plan.data, plan.embedder, path, progress, ask)
    for kind in KINDS:
        print(f"{kind} texts: answered from a confidence of {calibration.weights(kind).threshold:g} on")
    for name, weights in calibration.models.items():
        print(f"what {name} chooses: answered from a confidence of {weights.threshold:g} on")
    for name, reading in calibration.reading.items():
        print(f"what {name} reads again: answered from a confidence of {reading.threshold:g} on")


async def _asked(plan: Plan, models: list[Path], suites: Collection[str], progress: Progress) -> Asked:
    """What each model made of the labelled reports: its choices, where it reads again, or both."""
    from lineside.evaluation.calibrate import Asked  # noqa: PLC0415
    from lineside.evaluation.model import open_model  # noqa: PLC0415
    from lineside.evaluation.run import By  # noqa: PLC0415
    from lineside.evaluation.suites import asked, read_again  # noqa: PLC0415

    answered, read = {}, {}
    for bundle in models:
        async with open_model(bundle) as model:
            if "reports" in suites:
                answered[model.name] = await asked("reports", plan, By(model.writer), progress)
            if _REREADING in suites:
                read[model.name] = await read_again(plan, model.reader, progress)
    return Asked(answered, read)


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
