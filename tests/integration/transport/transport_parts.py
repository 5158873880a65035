"""Deterministic parts on the daemon's side of the ports: what the transports do with them is the subject."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import grpc.aio

from lineside.config import GrpcConfig, PowerConfig
from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis
from lineside.diagnosis.report import Report
from lineside.errors import Reason, RejectedError
from lineside.feedback.desk import FeedbackDesk
from lineside.feedback.store import FeedbackStore
from lineside.ports import (
    Auditor,
    Call,
    DiagnosisEvent,
    EngineFacts,
    GenerateJob,
    ModelFacts,
    Retrieved,
    RetrievedEntry,
    StatusFacts,
    Written,
)
from lineside.power.settings import Settings
from lineside.power_desk import PowerDesk
from lineside.serving.request import EndEvent, Event, FinishReason, Timings, TokenEvent, Usage
from lineside.transport.grpc.calls import CallDefaults
from lineside.transport.grpc.server import GrpcServer
from lineside.transport.grpc.server import Served as ServedParts

MODEL = "tiny"
REPORT = b'{"v":1,"dev":{"id":"press-7"},"alarm":{"code":"E42"}}'


class WordGenerator:
    """Answers with the words of the prompt. Words that begin with ! are orders."""

    def __init__(self) -> None:
        self.jobs: list[GenerateJob] = []
        # Held, so that none is closed just because nobody refers to it any more.
        self.started: list[AsyncIterator[Event]] = []
        self.running = 0
        self.waiting = anyio.Event()
        self.closed = anyio.Event()
        self.go = anyio.Event()

    def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        self.started.append(self._generate(job))
        return self.started[-1]

    async def _generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        self.jobs.append(job)
        self.running += 1
        words = (job.prompt or job.messages[-1].content).split()
        try:
            for index, word in enumerate(words):
                order, _, argument = word.partition(":")
                match order:
                    case "!reject":
                        raise RejectedError(
                            Reason(argument), "as ordered", field="prompt", retry_after_ms=250
                        )
                    case "!abort":
                        yield self.end(index, FinishReason.ABORTED, Reason(argument))
                        return
                    case "!bug":
                        raise ZeroDivisionError("a bug of ours")
                    case "!silent":
                        return
                    case "!wait":
                        self.waiting.set()
                        await self.go.wait()
                    case "!think":
                        yield TokenEvent("hm", (index,), thinking=True)
                    case _:
                        yield TokenEvent(word + " ", (index,))
            yield self.end(len(words))
        finally:
            self.running -= 1
            self.closed.set()

    def end(
        self, tokens: int, finish: FinishReason = FinishReason.STOP, reason: Reason | None = None
    ) -> EndEvent:
        message = "as ordered" if reason else ""
        retry_after_ms = 250 if reason is Reason.OVERLOAD else 0
        usage, timings = Usage(7, tokens, 1, 3), Timings(1.0, 2.0, 3.0)
        return EndEvent(finish, usage, timings, reason, message, retry_after_ms=retry_after_ms)


def diagnosis_for(report: Report, **changed: object) -> Diagnosis:
    values: dict[str, object] = {
        "id": report.id,
        "diagnosis_id": "d1",
        "dev": DeviceRef(id=report.dev.id),
        "alarm": AlarmRef(code=report.alarm.code),
        "received_at": "2026-01-01T00:00:00Z",
        "status": "ok",
        "mode": "rules",
        "severity": "high",
        "lang": "en",
        "meaning": "Oil  temperature\nhigh",
    }
    return Diagnosis(**(values | changed))  # type: ignore[arg-type]


class PlainDiagnoser:
    """One entry, one text, one diagnosis. The alarm's text may hold an order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.started: list[AsyncIterator[DiagnosisEvent]] = []
        self.waiting = anyio.Event()
        self.closed = anyio.Event()

    def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        self.started.append(self._diagnose(report, call))
        return self.started[-1]

    async def _diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        self.calls.append(call)
        try:
            yield Retrieved((RetrievedEntry("K1", "press#E42", "Oil hot"),))
            if report.alarm.text == "!wait":
                self.waiting.set()
                await anyio.sleep_forever()
            if report.alarm.text == "!silent":
                return
            yield Written("because")
            if report.alarm.text == "!error":
                yield diagnosis_for(report, status="error", reason="overload", message="busy", meaning="")
                return
            yield diagnosis_for(report)
        finally:
            self.closed.set()


@dataclass
class CountingAdmin:
    """Fixed facts; counters that count."""

    state: str = "ready"
    counters: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: tuple[ModelFacts, ...] = (
        ModelFacts(MODEL, "qwen2", "int8", "apache-2.0", 1024, 12_345, ("en", "zh"), "ab" * 32),
    )
    broken: bool = False

    def status(self) -> StatusFacts:
        if self.broken:
            raise ZeroDivisionError("a bug of ours")
        engine = EngineFacts("onnxruntime", "cpu", MODEL, "int8", 4, 1024, 0, 1 << 20, 1, 2, 3.5, 400.0)
        return StatusFacts(
            version="0.1.0",
            state=self.state,
            detail="all is well",
            uptime_s=12.5,
            engine=engine,
            knowledge_version="k1",
            knowledge_entries=60,
            broker_address="127.0.0.1:1883",
            broker_connected=True,
            broker_managed=True,
            journal_pending=3,
            journal_unpublished=4,
            counters=self.snapshot(),
        )

    def models(self) -> tuple[ModelFacts, ...]:
        return self.loaded

    def count(self, name: str, amount: int = 1) -> None:
        with self.lock:
            self.counters[name] += amount

    def snapshot(self) -> Mapping[str, int]:
        with self.lock:
            return dict(self.counters)


@dataclass
class Served:
    """A server with its parts, and a channel to it."""

    server: GrpcServer
    port: int
    channel: grpc.aio.Channel
    generator: WordGenerator
    diagnoser: PlainDiagnoser
    admin: CountingAdmin
    verdicts: FeedbackStore

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(
    config: GrpcConfig | None = None,
    on_admin: Callable[[CountingAdmin], None] = lambda _: None,
    audit: Auditor | None = None,
) -> AsyncIterator[Served]:
    generator, diagnoser, admin = WordGenerator(), PlainDiagnoser(), CountingAdmin()
    on_admin(admin)
    defaults = CallDefaults(timeout_ms=60_000, max_tokens=32)
    directory = tempfile.TemporaryDirectory()
    verdicts = FeedbackStore(Path(directory.name) / "feedback.db")
    feedback = FeedbackDesk(verdicts, admin.count)
    power = PowerDesk(Settings(PowerConfig(), Path(directory.name) / "power-setting.json"), admin.count)
    parts = ServedParts(generator, diagnoser, feedback, power, audit)
    server = GrpcServer(config or GrpcConfig(port=0), parts, admin, defaults)
    port = await server.start()
    await server.set_serving(True)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(server, port, channel, generator, diagnoser, admin, verdicts)
    finally:
        await server.stop(0)
        power.close()
        feedback.close()
        verdicts.close()
        directory.cleanup()
