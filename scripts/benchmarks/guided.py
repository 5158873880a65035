"""The demo's reports through the real pipeline, once with our engine as the writer, once with llama.cpp.

Knows no scheduler and no grammar: a writer hands a prompt and a schema to a process and gets a text back.
Each round has processes of its own, so that nothing is cached of the round before. Both have read the
manuals' entries before they are asked, as the daemon does while nobody asks anything, and keep them; a last
round shows what a report takes whose entry nobody has read yet.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from benchmarks import chart, peers
from benchmarks.models import QWEN, SMOLLM2, Model, bundle_of, checkpoint_of
from benchmarks.options import Options
from benchmarks.record import ROOT, Record, median_ratio
from lineside.diagnosis.answers import language_of
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.prompt import beginnings
from lineside.engine.bundle import Bundle
from lineside.evaluation.cases import Case, read_cases
from lineside.evaluation.outcome import outcome_of
from lineside.evaluation.run import MAX_ENTRIES
from lineside.ports import Call, ChatMessage
from lineside.reading_ahead import as_first
from lineside.serving.request import EndEvent, Event, FinishReason, Principal, Timings, TokenEvent, Usage
from lineside.serving.tokenizer import Tokenizer

# The large model's answers take the peer many times as long.
ROUNDS = {SMOLLM2.key: 3, QWEN.key: 1}
UNREAD = "unread"
DEMO = ROOT / "demo"
OURS, PEER = "Lineside", "llama.cpp"
HOUR_NS = 3_600_000_000_000
ANY_TEXT = '{"type": "string"}'


def run(options: Options) -> Record:
    """Every model that was asked for."""
    record = Record("guided")
    record.facts["work"] = {"reports": "demo/reports.jsonl", "threads": options.threads}
    for model in options.models:
        bundle = bundle_of(model, options.bundles.get(model.key))
        cases = [
            case for case in read_cases(DEMO / "reports.jsonl") if case.lang in bundle.manifest.languages
        ]
        rounds = [
            _round(options, model, bundle, cases, number)
            for number in range(options.rounds or ROUNDS[model.key])
        ]
        summarise(model.key, [answer for answers in rounds for answer in answers], record)
        unread = _round(options, model, bundle, cases, len(rounds), ahead=False)
        record.samples[f"{model.key}_{UNREAD}"] = unread
        seconds = seconds_of(model.key, unread)
        record.metrics[f"{model.key}_{UNREAD}_time_ratio"] = median_ratio(seconds[OURS], seconds[PEER])
        record.metrics[f"{model.key}_{UNREAD}_answer_s"] = statistics.median(seconds[OURS])
        record.metrics[f"{model.key}_{UNREAD}_llama_cpp_answer_s"] = statistics.median(seconds[PEER])
    return record


@dataclass(slots=True)
class WorkerWriter:
    """See diagnosis.writer.Writer. `heard`: what the process said of its last answer."""

    worker: peers.Worker
    bundle: Bundle
    tokenizer: Tokenizer
    heard: dict[str, Any] = field(default_factory=dict)
    model_name: str = "bench"

    @property
    def languages(self) -> Sequence[str]:
        """Those of the bundle, for either engine."""
        return self.bundle.manifest.languages

    def count_tokens(self, text: str) -> int:
        """By the bundle's tokenizer, so that both get the same prompt."""
        return self.tokenizer.count(text)

    def prompt_budget(self, max_tokens: int) -> int:
        """As the daemon has it."""
        framing = self.tokenizer.count(self.tokenizer.chat((("system", ""), ("user", ""))))
        return self.bundle.manifest.max_seq_len - max_tokens - framing

    async def warm_up(self, messages: Sequence[ChatMessage], timeout_s: float) -> None:
        """Read what the prompts begin with."""
        self._ask(messages, ANY_TEXT, 1)

    async def write(
        self, messages: Sequence[ChatMessage], json_schema: str, call: Call, max_tokens: int
    ) -> AsyncIterator[Event]:
        """The whole answer as one event."""
        self.heard = self._ask(messages, json_schema, max_tokens)
        yield TokenEvent(self.heard["text"], ())
        yield EndEvent(FinishReason.STOP, Usage(), Timings())

    def read_ahead(self, one: Sequence[ChatMessage], other: Sequence[ChatMessage]) -> None:
        """Read what both begin with, and keep it."""
        self.worker.ask("ahead", one=self._prompt(one), other=self._prompt(other))

    def _ask(self, messages: Sequence[ChatMessage], json_schema: str, tokens: int) -> dict[str, Any]:
        return self.worker.ask(
            "guided", prompt=self._prompt(messages), json_schema=json_schema, tokens=tokens
        )

    def _prompt(self, messages: Sequence[ChatMessage]) -> str:
        return self.tokenizer.chat((turn.role, turn.content) for turn in messages)


def _round(  # noqa: PLR0913 the last has a name
    options: Options,
    model: Model,
    bundle: Bundle,
    cases: Sequence[Case],
    number: int,
    *,
    ahead: bool = True,
) -> list[dict[str, Any]]:
    """Each report once by each engine, who begins taking turns; the answers of those that a model wrote.

    `ahead`: the entries that they are about have been read before.
    """
    peers.say(f"{model.recipe}: round {number + 1}{'' if ahead else ', no entry read before'}")
    python, source = options.llama_python(), checkpoint_of(model)
    file = peers.quantised(python, source, "q8_0") if model is SMOLLM2 else source
    length, tokenizer = bundle.manifest.max_seq_len, Tokenizer(bundle)
    with (
        searcher_of_demo() as searcher,
        peers.ours(bundle.path, options.threads, 1) as ours,
        peers.llama(python, file, options.threads, length=2 * length) as llama,
    ):
        writers = {
            OURS: WorkerWriter(ours, bundle, tokenizer),
            PEER: WorkerWriter(llama, bundle, tokenizer),
        }
        if ahead:
            _read_ahead(searcher, writers, cases)
        return anyio.run(_answers, searcher, writers, cases, number)


def _read_ahead(searcher: Searcher, writers: dict[str, WorkerWriter], cases: Sequence[Case]) -> None:
    wanted = {
        (case.expect.entry, language_of(case.report.locale, "en")) for case in cases if case.expect.entry
    }
    with searcher.store.snapshot() as base:
        assert base is not None
        entries = {entry.id: entry for entry in base.all()}
    peers.say(f"reading {len(wanted)} entries ahead")
    for name, language in sorted(wanted):
        for writer in writers.values():
            writer.read_ahead(*beginnings(as_first(entries[name], language), language))


async def _answers(
    searcher: Searcher, writers: dict[str, WorkerWriter], cases: Sequence[Case], number: int
) -> list[dict[str, Any]]:
    names = list(writers)
    pipelines = {name: Pipeline(searcher, writer) for name, writer in writers.items()}
    for pipeline in pipelines.values():
        await pipeline.warm_up()
    answers = []
    for index, case in enumerate(cases):
        first = (number + index) % len(names)
        both = {}
        for name in names[first:] + names[:first]:
            writers[name].heard = {}
            diagnosis = await _diagnosed(pipelines[name], case)
            found = searcher.search(Query.of(case.report))
            outcome = outcome_of(case, found, diagnosis, choice=None, latency_ms=0.0)
            valid = diagnosis.mode == "model"
            # Without a valid answer the rules answer, whose agreement is not the engine's.
            both[name] = {**writers[name].heard, "right": bool(outcome.right and valid), "valid": valid}
        told = ", ".join(f"{name} {one.get('answer_s', 0):.1f} s" for name, one in both.items())
        peers.say(f"report {index + 1} of {len(cases)}: {told}")
        if all("answer_s" in one for one in both.values()):
            answers.append({"round": number, "id": case.id, "lang": case.lang, **both})
    return answers


async def _diagnosed(pipeline: Pipeline, case: Case) -> Diagnosis:
    call = Call(Principal("bench", "bench"), time.monotonic_ns() + HOUR_NS)
    async for event in pipeline.diagnose(case.report, call):
        if isinstance(event, Diagnosis):
            return event
    raise AssertionError("the pipeline ends with a diagnosis")


@contextlib.contextmanager
def searcher_of_demo() -> Iterator[Searcher]:
    """The demo plant's manuals, by words alone."""
    with tempfile.TemporaryDirectory(prefix="lineside-bench-") as folder:
        base = Path(folder) / "knowledge.db"
        import_files(base, sorted((DEMO / "knowledge").glob("*.yaml")), ImportOptions(approve_by="bench"))
        with contextlib.closing(Store(base)) as store:
            yield Searcher(store, MAX_ENTRIES)


def summarise(key: str, answers: Sequence[dict[str, Any]], record: Record) -> None:
    """What each report took beside the peer's time for the same; labels; a chart.

    Times are of reports that both answered validly.
    """
    record.samples[key] = list(answers)
    seconds = seconds_of(key, answers)
    metrics = record.metrics
    metrics[f"{key}_time_ratio"] = median_ratio(seconds[OURS], seconds[PEER])
    metrics[f"{key}_reports_compared"] = len(seconds[OURS])
    for name, prefix in ((OURS, key), (PEER, f"{key}_llama_cpp")):
        metrics[f"{prefix}_answer_s"] = statistics.median(seconds[name])
        metrics[f"{prefix}_right_fraction"] = _share(answers, name, "right")
        metrics[f"{prefix}_valid_fraction"] = _share(answers, name, "valid")
        # Cores that other programs used meanwhile: above about 0.1 the times say little.
        metrics[f"{prefix}_others_cores"] = statistics.median(one[name]["others_cores"] for one in answers)
    ahead = metrics[f"{key}_right_fraction"] - metrics[f"{key}_llama_cpp_right_fraction"]
    for name, value in (
        ("valid_fraction", metrics[f"{key}_valid_fraction"]),
        ("agreement_with_labels_minus_peer", ahead),
    ):
        metrics[name] = min(value, metrics.get(name, value))  # the worst of the models
    bars = [
        chart.Bar(name, statistics.median(found), min(found), max(found), name == OURS)
        for name, found in seconds.items()
    ]
    record.charts[key] = chart.bars(f"{key}: from a report's prompt to its complete answer", "s", bars)


def seconds_of(key: str, answers: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Of each engine, of reports that both answered validly. Raises SystemExit where there is none."""
    both = [answer for answer in answers if all(answer[name]["valid"] for name in (OURS, PEER))]
    if not both:
        raise SystemExit(f"bench: no report of {key} was answered validly by both")
    return {name: [answer[name]["answer_s"] for answer in both] for name in (OURS, PEER)}


def _share(answers: Sequence[dict[str, Any]], name: str, what: str) -> float:
    return statistics.fmean(answer[name][what] for answer in answers)
