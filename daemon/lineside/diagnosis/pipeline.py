"""From a report to its diagnosis: retrieve, let a model rank if it can in time, answer in any case.

Knows nothing of transports, of engines or of the knowledge base's file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Literal

import anyio

from lineside.diagnosis.answers import Clock, Frame, diagnosis_of, error_diagnosis, language_of
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.draft import NS_PER_MS, Assignment, Draft, confidence, write
from lineside.diagnosis.guide import Guide, allowed_severities
from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.retrieval import Query, Retrieval
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.options import Option
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.prompt import Data, fit, opening
from lineside.diagnosis.recent import Earlier, History, earlier, in_light_of, recent_evidence
from lineside.diagnosis.report import Report, priority_of
from lineside.diagnosis.rereading import Finding, find
from lineside.diagnosis.rules import (
    Answer,
    Choice,
    abstention,
    answer_by_rules,
    answer_of,
    considered,
    findings_of,
)
from lineside.diagnosis.writer import Reader, Writer
from lineside.errors import LinesideError, Reason, RejectedError
from lineside.ports import Call, DiagnosisEvent, Retrieved, RetrievedEntry, Written
from lineside.power.energy import EnergyMeter, EnergyShares, Share

__all__ = ["Clock", "Pipeline", "error_diagnosis"]

log = logging.getLogger(__name__)

# Even a forced answer needs a prefill; with less time than this, rules at once are the better answer.
MIN_MODEL_MS = 300
# Kept back from the model's deadline, so that the answer by rules still comes before the report's.
RESERVE_MS = 100
SPARE_TOKENS = 16
# Starting waits no longer than this: where reading takes more, admission refuses it at once.
WARM_UP_S = 1.0


@dataclasses.dataclass(slots=True)
class _Task:
    """One report on its way."""

    report: Report
    call: Call
    language: Language
    received_at: str
    started_ns: int
    share: Share
    found: Finding = dataclasses.field(default_factory=lambda: Finding(Retrieval("none")))
    retrieval: Retrieval = dataclasses.field(default_factory=lambda: Retrieval("none"))
    earlier: tuple[Earlier, ...] = ()
    options: tuple[Option, ...] = ()
    timings: dict[str, float | None] = dataclasses.field(default_factory=dict)
    written: Draft | None = None

    @property
    def confirmed(self) -> bool:
        """What the plant itself has found out is no model's to pass over."""
        return bool(self.options) and self.options[0].entry.confirmed is not None


class Pipeline:
    """Implements ports.Diagnoser. `writer` may be set and taken away at any time; None: rules alone.

    `reader` looks over what was found in another language than the report's, whatever the mode. `on_asked`
    hears of the first entry that the model is asked about.
    """

    def __init__(  # noqa: PLR0913 all but the first two have defaults and names
        self,
        searcher: Searcher,
        writer: Writer | None = None,
        *,
        reader: Reader | None = None,
        locale: Language = "en",
        mode: Literal["model", "rules"] = "model",
        history: History | None = None,
        clock: Clock | None = None,
        energy: EnergyShares | None = None,
        on_asked: Callable[[Entry, Language], None] | None = None,
    ) -> None:
        self.searcher = searcher
        self.writer = writer
        self.reader = reader
        self._locale = locale
        self._mode = mode
        self._history = history
        self._clock = clock or Clock()
        self._energy = energy or EnergyShares(EnergyMeter())
        self._on_asked = on_asked or (lambda entry, language: None)

    async def warm_up(self) -> None:
        """Have the instructions read that prompts in the plant's language begin with."""
        writer = self.writer
        if writer is None or self._mode == "rules" or self._locale not in writer.languages:
            return
        try:
            await writer.warm_up(opening(self._locale), WARM_UP_S)
        except RejectedError as refusal:
            log.info("the instructions are read with the first report: %s", refusal.message)

    async def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """See ports.Diagnoser."""
        if call.priority is None:
            call = dataclasses.replace(call, priority=priority_of(report))
        language = language_of(report.locale, self._locale)
        now, now_ns = self._clock.now(), self._clock.monotonic_ns()
        with self._energy.share() as share:
            task = _Task(report, call, language, now, now_ns, share)
            async with contextlib.aclosing(self._answered(task)) as events:
                async for event in events:
                    yield event

    async def _answered(self, task: _Task) -> AsyncGenerator[DiagnosisEvent, None]:
        """Whatever happens, a diagnosis comes last."""
        report = task.report
        try:
            async with contextlib.aclosing(self._steps(task)) as events:
                async for event in events:
                    yield event
        except LinesideError as error:
            log.error("report of %s: %s", report.dev.id, error)  # noqa: TRY400 the error says all there is to say
            yield self._failed(task, RejectedError(Reason.STORAGE, error.message))
        except Exception:
            log.exception("report of %s could not be answered", report.dev.id)
            yield self._failed(task, RejectedError(Reason.INTERNAL, "an internal error; the log tells more"))

    async def _steps(self, task: _Task) -> AsyncGenerator[DiagnosisEvent, None]:
        await self._retrieve(task)
        task.timings["retrieve_ms"] = self._elapsed_ms(task)
        if task.retrieval.verdict != "none":
            task.options = considered(task.report, task.retrieval, task.language)
        yield Retrieved(
            tuple(RetrievedEntry(o.ref, o.entry.citation, o.text.title, o.entry.id) for o in task.options)
        )
        if task.retrieval.verdict != "hit" or self._mode == "rules" or task.confirmed:
            yield self._by_rules(task)
            return
        assignment = await self._assignment(task)
        if isinstance(assignment, str):
            yield self._by_rules(task, assignment)
            return
        self._on_asked(task.options[0].entry, task.language)
        draft = Draft()
        async with contextlib.aclosing(self._written(task, assignment, draft)) as texts:
            async for text in texts:
                yield Written(text)
        yield self._by_model(task, assignment, draft)

    async def _retrieve(self, task: _Task) -> None:
        call, timeout_s = self._in_reserve(task)
        task.found = await find(self.searcher, Query.of(task.report), self.reader, call, timeout_s)
        if self._history is not None:
            before = await anyio.to_thread.run_sync(self._history, task.report.dev.id)
            task.earlier = earlier(before, task.received_at)
        task.retrieval = in_light_of(task.found.retrieval, task.earlier)
        if task.found.model:
            task.timings["reread_ms"] = task.found.read_ms

    def _in_reserve(self, task: _Task) -> tuple[Call, float]:
        """The call with what a model may take of its time, also in seconds from now."""
        call = dataclasses.replace(task.call, deadline_ns=task.call.deadline_ns - RESERVE_MS * NS_PER_MS)
        return call, (self._left_ms(task) - RESERVE_MS) / 1000

    async def _assignment(self, task: _Task) -> Assignment | str:
        """What to ask the model, or why it is not asked."""
        writer = self.writer
        if writer is None:
            return phrase("no_engine", task.language)
        if task.language not in writer.languages:
            return phrase("no_language", task.language, language=task.language)
        if self._left_ms(task) < MIN_MODEL_MS + RESERVE_MS:
            return phrase("no_time", task.language)
        if _nothing_to_choose(task):
            return phrase("no_choice", task.language)
        try:
            return await anyio.to_thread.run_sync(_assign, task, writer)
        except RejectedError as refusal:
            return refusal.message

    async def _written(self, task: _Task, assignment: Assignment, draft: Draft) -> AsyncGenerator[str, None]:
        started_ns = self._clock.monotonic_ns()
        call, timeout_s = self._in_reserve(task)
        async with contextlib.aclosing(write(draft, assignment, call, timeout_s)) as texts:
            async for text in texts:
                yield text
        task.timings["model_ms"] = round((self._clock.monotonic_ns() - started_ns) / NS_PER_MS, 3)
        task.timings["first_token_ms"] = round(draft.first_token_ms, 3)
        task.timings["prompt_tokens"] = draft.prompt_tokens
        task.timings["completion_tokens"] = draft.completion_tokens
        task.written = draft

    def _by_model(self, task: _Task, assignment: Assignment, draft: Draft) -> Diagnosis:
        if draft.refusal:
            return self._by_rules(task, draft.refusal)
        try:
            choice = assignment.guide.read(draft.text)
        except ValueError as error:
            log.warning("the model's answer cannot be read: %s", error)
            return self._by_rules(task, phrase("unreadable", task.language))
        if choice is None:
            answer = abstention(task.report, task.options, task.language, "low_conf")
        else:
            answer = self._sure_enough(task, choice, assignment.writer.model_name, draft.probability)
        return self._finished(task, answer, model=assignment.writer.model_name)

    def _sure_enough(self, task: _Task, choice: Choice, model: str, probability: float) -> Answer:
        """The answer with its confidence; an abstention where calibration says that it is too little."""
        score = task.options[choice.option].score
        weights = self.searcher.calibration.models.get(model)
        if weights is None or task.retrieval.candidates[0].by != "text":
            conf = confidence(score, probability)
        else:
            conf = round(weights.probability(score, probability), 3)
            if conf < weights.threshold:
                return abstention(task.report, task.options, task.language, "low_conf")
        return answer_of(task.report, task.options, task.language, dataclasses.replace(choice, conf=conf))

    def _by_rules(self, task: _Task, why: str = "") -> Diagnosis:
        answer = answer_by_rules(task.report, task.retrieval, task.language)
        return self._finished(
            task, answer, message=phrase("from_manual", task.language, why=why) if why else ""
        )

    def _finished(self, task: _Task, answer: Answer, *, model: str = "", message: str = "") -> Diagnosis:
        before = recent_evidence(task.earlier, task.language)
        answer = dataclasses.replace(answer, evidence=(*answer.evidence, *before))
        task.timings["total_ms"] = self._elapsed_ms(task)
        energy_j = self._charge(task)
        frame = Frame(
            received_at=task.received_at,
            language=task.language,
            kb=task.retrieval.version,
            mode="model" if model else "rules",
            model=model or task.found.model,
            message=message,
            energy_j=energy_j,
        )
        return diagnosis_of(task.report, answer, frame, task.timings, self._clock)

    def _charge(self, task: _Task) -> float | None:
        """What models' steps took; without a step, this report's share of the time it was worked on."""
        draft = task.written
        measured = (draft.energy_j if draft else None, task.found.energy_j)
        joules = sum(one for one in measured if one is not None) or task.share.joules()
        self._energy.account(joules)
        tokens = 0 if draft is None else draft.completion_tokens
        task.timings["energy_j"] = joules = _three_digits(joules or None)
        task.timings["tokens_per_j"] = _three_digits(tokens / joules) if joules and tokens else None
        return joules

    def _failed(self, task: _Task, refusal: RejectedError) -> Diagnosis:
        return error_diagnosis(
            refusal, device=task.report.dev.id, report=task.report, language=self._locale, clock=self._clock
        )

    def _elapsed_ms(self, task: _Task) -> float:
        return round((self._clock.monotonic_ns() - task.started_ns) / NS_PER_MS, 3)

    def _left_ms(self, task: _Task) -> float:
        return (task.call.deadline_ns - self._clock.monotonic_ns()) / NS_PER_MS


def _three_digits(value: float | None) -> float | None:
    """Power is measured no better; what is small stays more than 0."""
    return None if value is None else float(f"{value:.3g}")


def _nothing_to_choose(task: _Task) -> bool:
    """Whether every answer that a model could give is the same, or says no more than that the entry fits."""
    if len(task.options) > 1:
        return False
    (option,) = task.options
    doubtful = (
        task.retrieval.candidates[0].by == "text" or len(allowed_severities(task.report, option.entry)) > 1
    )
    return not option.leaves_choice or (option.settled and len(option.actions) < 2 and not doubtful)


def _assign(task: _Task, writer: Writer) -> Assignment:
    """Blocking: counts tokens. Raises RejectedError where no prompt fits."""
    findings = findings_of(task.report, task.options, task.language)
    guide = _guide(task, task.options)
    max_tokens = writer.count_tokens(guide.longest()) + SPARE_TOKENS
    data = Data(task.report, task.options, findings, guide.open)
    prompt = fit(data, task.language, writer.prompt_budget(max_tokens), writer.count_tokens)
    return Assignment(writer, _guide(task, prompt.options), prompt, max_tokens)


def _guide(task: _Task, options: tuple[Option, ...]) -> Guide:
    return Guide(
        options=options,
        severities=tuple(allowed_severities(task.report, option.entry) for option in options),
        # An exact code is not the model's to doubt.
        open=task.retrieval.candidates[0].by == "text",
    )
