"""Durable reports: from the journal to a diagnosis and back. Knows nothing of MQTT and SQLite."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import anyio
import anyio.abc

from lineside.answering import Answering
from lineside.auditing import record_answered, record_received
from lineside.diagnosis.diagnosis import encode_diagnosis
from lineside.diagnosis.standing import answers_repeats
from lineside.errors import REASONS, Reason, RejectedError
from lineside.feedback.desk import refusal_receipt
from lineside.feedback.verdict import Receipt, encode_receipt
from lineside.journal import Journal
from lineside.journal_rows import Accepted, NewReport, OpenReport
from lineside.outbox import PAGE, Outbox
from lineside.ports import Acknowledge, Auditor, Copies, FeedbackTaker, IncomingReport, OutgoingAnswer
from lineside.preparing import note_refusal, prepare
from lineside.reading import key_of, refusal_of
from lineside.serving.request import Priority
from lineside.tickets import Ticket, Tickets

log = logging.getLogger(__name__)

STORAGE_RETRY_S = 1.0
# How long a stop waits for the broker to take what was answered last.
PUBLISH_S = 1.0


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """As many as `concurrency` reports are looked into at once, and as many critical ones beside them.

    `max_pending` wait at most. Of one more, the least urgent is answered `overload` at once.
    """

    concurrency: int
    max_pending: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A report as it came, whom to tell that it is stored, and when it came, of time.monotonic()."""

    incoming: IncomingReport
    on_stored: Acknowledge
    came_s: float


@dataclass(slots=True)
class Desk:
    """Implements ports.Inbox. `accept` and `published` come from any thread, all else from the event loop."""

    journal: Journal
    answering: Answering
    limits: DeskLimits
    count: Callable[[str], None]
    loop: asyncio.AbstractEventLoop
    feedback: FeedbackTaker
    copies: Copies | None = None
    audit: Auditor | None = None
    trouble: str = ""
    pending: int = 0
    _tickets: Tickets = field(default_factory=Tickets)
    _suspects: Tickets = field(default_factory=Tickets)
    _shed: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    _busy: int = 0
    _draining: bool = False
    _idle: anyio.Event = field(default_factory=anyio.Event)
    _outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self._outbox = Outbox(self.journal, self.published)
        self.journal.on_untaken = self._forgotten

    def accept(self, incoming: IncomingReport, on_stored: Acknowledge) -> None:
        """See ports.Inbox."""
        if self.audit is not None:
            record_received(self.audit, incoming)
        self._take(Arrival(incoming, on_stored, time.monotonic()))

    def _take(self, arrival: Arrival) -> None:
        incoming = arrival.incoming
        if incoming.verb == "fault":
            self._store(self._prepare(incoming), arrival)
            return
        given = self.feedback.give(incoming.payload, incoming.device)
        given.add_done_callback(lambda future: self._given(future, arrival))

    def _store(self, new: NewReport, arrival: Arrival) -> None:
        stored = self.journal.accept(new)
        stored.add_done_callback(lambda future: self._stored(future, new, arrival))

    def _given(self, given: Future[Receipt], arrival: Arrival) -> None:
        """On the feedback's thread, after its commit: the receipt is stored as any answer is."""
        incoming = arrival.incoming
        unlike = ""
        try:
            receipt = given.result()
        except Exception as error:  # noqa: BLE001  (whatever it is, the sender hears of it)
            refusal = refusal_of(error)
            if refusal.reason is Reason.STORAGE:
                self.trouble = refusal.message
                self._try_again(arrival)
                return
            self.count(f"feedback_refused_{refusal.reason.value}")
            receipt = refusal_receipt(refusal, incoming.request_id)
            unlike = uuid.uuid4().hex if REASONS[refusal.reason].retry else ""
        key = f"feedback:{key_of(incoming, None).whole}{unlike}"
        self._store(NewReport(incoming, key, int(Priority.LOW), None, encode_receipt(receipt)), arrival)

    def _forgotten(self, answers: int) -> None:
        for _ in range(answers):
            self.count("answers_never_taken")

    @property
    def unpublished(self) -> int:
        """Answers that the broker has not taken yet."""
        return self._outbox.unpublished

    def published(self, row: int) -> None:
        """See ports.Inbox."""
        self.journal.published(row)
        self.loop.call_soon_threadsafe(self._outbox.sent)

    def refused(self, row: int) -> None:
        """See ports.Inbox."""
        self.journal.refused(row)

    def again(self, rows: Iterable[int]) -> None:
        """See ports.Inbox."""
        self._outbox.again(rows)

    def answers(self) -> AsyncIterator[OutgoingAnswer]:
        """See ports.Inbox."""
        return self._outbox.answers()

    async def record_restored(self) -> None:
        """Before anything is published: what was stored as the daemon was killed may have no record."""
        if self.audit is None or not self.journal.killed:
            return
        rows = await asyncio.wrap_future(self.journal.unpublished())
        for start in range(0, len(rows), PAGE):
            for answer in await asyncio.wrap_future(self.journal.outgoing(rows[start : start + PAGE])):
                if answer.form == "full":
                    record_answered(self.audit, answer)

    async def run(self) -> None:
        """Resume what is unanswered, then answer as reports come, until cancelled.

        One of those that were at work when the daemon ended may have ended it: they are taken one at a time,
        so that the others are not counted with it again.
        """
        for open_report in await asyncio.wrap_future(self.journal.open_reports()):
            tickets = self._suspects if open_report.attempts else self._tickets
            self._enqueue(Ticket(open_report.urgency, open_report.report), tickets)
        async with anyio.create_task_group() as group:
            for number in range(self.limits.concurrency):
                group.start_soon(self._work, Priority.LOW, self._tickets, name=f"desk-{number}")
                # Where all others are at work, what is critical is begun all the same.
                group.start_soon(self._work, Priority.CRITICAL, self._tickets, name=f"desk-critical-{number}")
            group.start_soon(self._work, Priority.LOW, self._suspects, name="desk-suspects")
            group.start_soon(self._turn_away, name="desk-shed")

    def _prepare(self, incoming: IncomingReport) -> NewReport:
        return prepare(incoming, self.answering.zone, self.copies, self._no_room, self.count)

    def _no_room(self, priority: Priority) -> RejectedError | None:
        """The refusal of a new report where there is no room, and nothing less urgent to make some."""
        wait_ms = self.answering.default_timeout_ms
        if self.pending >= self.limits.max_pending and priority >= self._tickets.least_urgent():
            return self._overload()
        if self.journal.nearly_full:
            return RejectedError(Reason.OVERLOAD, "the journal is nearly full", retry_after_ms=wait_ms)
        return None

    def _overload(self) -> RejectedError:
        message = f"{self.pending} reports are waiting"
        return RejectedError(Reason.OVERLOAD, message, retry_after_ms=self.answering.default_timeout_ms)

    def _stored(self, future: Future[Accepted], new: NewReport, arrival: Arrival) -> None:
        """On the journal's thread, after the commit. Without one there is no acknowledgement.

        The broker sends no further reports once enough are unacknowledged, so these are tried again here.
        """
        if future.exception() is not None:
            self.trouble = "the journal cannot write"
            self.count("reports_not_stored")
            self._try_again(arrival)
            return
        self.trouble = ""
        arrival.on_stored()
        if future.result().refused:
            note_refusal(new.incoming, self.count, Reason.OVERLOAD)
        if future.result().reused:
            self.count("reports_id_reused")
            log.info(
                "an id came again with another content: a new report", extra={"device": new.incoming.device}
            )
        self.loop.call_soon_threadsafe(self._taken, future.result(), new.urgency)

    def _try_again(self, arrival: Arrival) -> None:
        self.loop.call_soon_threadsafe(self.loop.call_later, STORAGE_RETRY_S, self._again, arrival)

    def _again(self, arrival: Arrival) -> None:
        """Unless the broker sends it again: then it keeps it meanwhile, not this."""
        if arrival.on_stored.void():
            self.count("reports_left_with_the_broker")
            return
        now_s = time.monotonic()
        if (left_ms := arrival.incoming.remaining_ms) is not None:
            left_ms -= round((now_s - arrival.came_s) * 1000)
        self._take(Arrival(replace(arrival.incoming, remaining_ms=left_ms), arrival.on_stored, now_s))

    def _taken(self, accepted: Accepted, urgency: int) -> None:
        if accepted.fresh:
            self.count("reports_accepted")
            self._enqueue(Ticket(urgency, accepted.report), self._tickets)
            self._make_room()
        if accepted.repeated:
            self.count("reports_repeated")
        if accepted.grouped:
            self.count("reports_grouped")
        for delivery in accepted.deliveries:
            self._publish(delivery)
        self._open_again(accepted.reopened)

    def _open_again(self, reports: Iterable[OpenReport]) -> None:
        """The first out of their group got no diagnosis: they do."""
        for report in reports:
            self.count("reports_next_out")
            self._enqueue(Ticket(report.urgency, report.report), self._tickets)
            self._make_room()

    def _enqueue(self, ticket: Ticket, tickets: Tickets) -> None:
        tickets.push(ticket)
        self.pending += 1

    def _make_room(self) -> None:
        """The least urgent, the newest of those, gives way."""
        ticket = self._tickets.give_way() if self.pending > self.limits.max_pending else None
        if ticket is None:
            return
        self.pending -= 1
        self.count("reports_shed")
        self._shed.put_nowait(ticket.report)

    async def _turn_away(self) -> None:
        """Tells who gave way to come back, while all others work."""
        while True:
            report = await self._shed.get()
            try:
                await self._answer(report, self._overload())
            except RejectedError as error:
                self.trouble = error.message
                self.journal.put_back(report)
                self.loop.call_later(STORAGE_RETRY_S, self._shed.put_nowait, report)

    def waiting(self) -> Counter[Priority]:
        """Reports that wait for their turn, by priority."""
        return self._tickets.by_priority() + self._suspects.by_priority()

    async def drain(self, timeout_s: float) -> None:
        """Begin no more reports, let the begun ones end and be published; the rest wait in the journal."""
        self._draining = True
        if self._busy:
            with anyio.move_on_after(timeout_s):
                await self._idle.wait()
        with anyio.move_on_after(PUBLISH_S):
            await self._outbox.all_sent()

    async def _work(self, at_most: Priority, tickets: Tickets) -> None:
        """Answer one report after another, those that are so urgent, or more."""
        while True:
            ticket = await tickets.take(at_most)
            if self._draining:
                return
            self._busy += 1
            try:
                await self._answer(ticket.report)
            except RejectedError as error:
                log.error("report %d waits for the journal: %s", ticket.report, error)  # noqa: TRY400
                self.trouble = error.message
                self.journal.put_back(ticket.report)  # it is the journal that failed, not the report
                self.loop.call_later(STORAGE_RETRY_S, self._enqueue, ticket, tickets)
            except anyio.get_cancelled_exc_class():
                self.journal.put_back(ticket.report)
                raise
            finally:
                self.pending -= 1
                self._busy -= 1
                if self._draining and not self._busy:
                    self._idle.set()

    async def _answer(self, report: int, refusal: RejectedError | None = None) -> None:
        """Diagnose (not where there is a `refusal`), store, then publish.

        Raises RejectedError(STORAGE) when the journal cannot write.
        """
        stored = await asyncio.wrap_future(self.journal.begin(report))
        if stored is None:
            return
        diagnosis = await self.answering.answer(stored, refusal)
        answered = self.journal.answer(
            report,
            encode_diagnosis(diagnosis),
            set_aside=diagnosis.reason == Reason.POISON.value,
            stands=answers_repeats(diagnosis),
            ask_again=refusal is not None,
            diagnosed=diagnosis.status != "error",
        )
        done = await asyncio.wrap_future(answered)
        for answer in done.deliveries:
            self._publish(answer)
        self._open_again(done.reopened)
        self.trouble = ""
        self.count(f"diagnoses_{diagnosis.status}")

    def _publish(self, answer: OutgoingAnswer) -> None:
        if self.audit is not None and answer.form == "full":
            record_answered(self.audit, answer)
        self._outbox.put(answer)
