"""A desk on a real journal, with a diagnoser of the test's own."""

import asyncio
import json
from contextlib import asynccontextmanager

import anyio
import msgspec

from lineside.answering import Answering
from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis
from lineside.diagnosis.standing import repeated
from lineside.dispatch import Desk, DeskLimits
from lineside.feedback.desk import FeedbackDesk
from lineside.feedback.store import FeedbackStore
from lineside.journal import Journal
from lineside.journal_alarms import Life
from lineside.journal_file import Limits
from lineside.ports import Copy, IncomingReport, Retrieved


def incoming(code="F012", *, device="L1/M1", sev=None, correlation=b"c", remaining_ms=None, **report):
    report = {"dev": {"id": "L1/M1"}, "alarm": {"code": code}, **report}
    if sev is not None:
        report["alarm"]["sev"] = sev
    payload = json.dumps(report).encode()
    return IncomingReport(device, "", payload, "reply", correlation, True, remaining_ms)


class Diagnoser:
    """Answers with the report's code; waits for `gate`; records what it was asked."""

    def __init__(self):
        self.asked = []
        self.gate = anyio.Event()
        self.gate.set()

    async def diagnose(self, report, call):
        self.asked.append((report.alarm.code, call))
        yield Retrieved(())
        await self.gate.wait()
        yield Diagnosis(
            id=report.id,
            diagnosis_id="D",
            dev=DeviceRef(id=report.dev.id),
            alarm=AlarmRef(code=report.alarm.code),
            received_at="",
            status="ok",
            mode="rules",
            severity="low",
            lang="en",
        )


def copies(incoming, alarm_key, event):
    """Topics of the test's own."""
    forms = [form if form != "alarm" or event != "cleared" else "cleared" for form in incoming.wanted]
    return tuple(Copy(form, f"{form}/{incoming.device}/{alarm_key}") for form in forms)


class Acknowledged:
    """Implements ports.Acknowledge by a function; `over`: its connection has ended."""

    def __init__(self, stored):
        self.stored = stored
        self.over = False

    def __call__(self):
        self.stored()

    def void(self):
        return self.over


class Bench:
    """A desk on a real journal, and what came out of it."""

    def __init__(self, path, diagnoser, occurrence_s=600, group_ms=0, timeout_ms=5000, **limits):
        self.counters = []
        self.journal = Journal(path, Limits(1000, 1 << 26), Life(occurrence_s, group_ms, repeated))
        self.diagnoser = diagnoser
        limits = DeskLimits(**{"concurrency": 1, "max_pending": 10, **limits})
        self.verdicts = FeedbackStore(path.with_name("feedback.db"))
        self.feedback = FeedbackDesk(self.verdicts, self.counters.append)
        loop = asyncio.get_running_loop()
        answering = Answering(diagnoser, timeout_ms)
        self.desk = Desk(self.journal, answering, limits, self.counters.append, loop, self.feedback)
        self.desk.copies = copies
        self.answers = []
        self.arrived = anyio.Event()
        self.stored = []

    def accept(self, report):
        acknowledge = Acknowledged(lambda: self.stored.append(report))
        self.desk.accept(report, acknowledge)
        return acknowledge

    async def read(self):
        async for answer in self.desk.answers():
            self.answers.append(answer)
            self.arrived.set()

    async def wait_for(self, count):
        with anyio.fail_after(5):
            while len(self.answers) < count:
                await self.arrived.wait()
                self.arrived = anyio.Event()

    async def wait(self, count):
        await self.wait_for(count)
        return self.diagnoses()

    def diagnoses(self):
        """Of the answers that have come in full."""
        return [
            msgspec.json.decode(answer.payload, type=Diagnosis)
            for answer in self.answers
            if answer.form == "full"
        ]


@asynccontextmanager
async def working(bench, *, run=True):
    async with anyio.create_task_group() as group:
        if run:
            group.start_soon(bench.desk.run)
        group.start_soon(bench.read)
        await anyio.sleep(0.05)
        yield bench
        group.cancel_scope.cancel()
    bench.journal.close()
    bench.feedback.close()
    bench.verdicts.close()
