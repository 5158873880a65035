"""What the transports ask of the daemon, and what it asks of them. Interfaces only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Event as AlarmEvent
from lineside.diagnosis.report import Report
from lineside.errors import RejectedError
from lineside.feedback.verdict import Receipt
from lineside.power.facts import PowerFacts
from lineside.power.settings import Wish
from lineside.serving.request import Event, Principal, Priority, Sampling


@dataclass(frozen=True, slots=True)
class Call:
    """What every request carries, whatever its transport. `deadline_ns` is of time.monotonic_ns()."""

    principal: Principal
    deadline_ns: int
    priority: Priority | None = None
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class GenerateJob:
    """A generation as asked: a prompt taken as it is, or messages for the bundle's chat template.

    `thinking_tokens`: see Request; None: as the bundle says.
    """

    call: Call
    prompt: str = ""
    messages: tuple[ChatMessage, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: str | None = None
    thinking_tokens: int | None = None
    show_thinking: bool = False


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Asks how likely a text is behind a prompt, without a chat template. Control tokens in both are text."""

    call: Call
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class RetrievedEntry:
    """A manual entry that the diagnosis may cite. `source` is manual#code, `id` its key in the base."""

    ref: str
    source: str
    title: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Progress: what was found, best first."""

    entries: tuple[RetrievedEntry, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Progress: text that the model has written."""

    text: str


DiagnosisEvent = Retrieved | Written | Diagnosis


class Generator(Protocol):
    """Runs generations."""

    def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        """Token events, then one EndEvent. Closing the iterator aborts. Raises RejectedError at first."""


class Diagnoser(Protocol):
    """Answers reports."""

    def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """Progress, then exactly one Diagnosis, also where it is an error.

        Raises RejectedError only for an idempotency key that belongs to another request.
        """


class FeedbackTaker(Protocol):
    """Takes technicians' verdicts on diagnoses."""

    def give(self, payload: bytes, device: str = "") -> Future[Receipt]:
        """A verdict in JSON, on a diagnosis of `device` where one is named; from any thread, never blocks.

        The future completes once the verdict is on the disk, or raises RejectedError.
        """


class PowerSetter(Protocol):
    """Takes operators' settings of power and heat."""

    def set(self, values: Mapping[str, object], principal: Principal) -> Future[Wish]:
        """Set limit_w, temperature_max_c or mode, or clear them all; from any thread, never blocks.

        The future completes with what then holds, or raises RejectedError: FORBIDDEN for who is no operator.
        """

    def wish(self) -> Wish:
        """What holds now; never blocks."""


Verb = Literal["fault", "feedback"]

# How an answer is published: whole; in few bytes for a controller, or for people; retained while its alarm
# stands; and what takes that away again.
Form = Literal["full", "brief", "text", "alarm", "cleared"]
Wanted = Literal["brief", "text", "alarm"]


@dataclass(frozen=True, slots=True)
class IncomingReport:
    """A report off the broker, before anything looked into it. `payload` may be anything.

    `verb` feedback: it is a verdict on an earlier diagnosis.

    `remaining_ms` is what is left of the message's expiry (None: no expiry).

    `redelivered`: the broker sends it again, for it was not told that we have it, which we may.

    `refusal`: it could not be mapped. `wanted`: how else its answer is published, beside the full one.
    """

    device: str
    request_id: str
    payload: bytes
    reply_topic: str
    correlation: bytes
    mqtt5: bool
    remaining_ms: int | None
    verb: Verb = "fault"
    refusal: RejectedError | None = None
    wanted: tuple[Wanted, ...] = ()
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingAnswer:
    """A journalled answer to publish. `row` names it to `Inbox.published`.

    `remaining_ms` becomes the message's expiry (None: none). `took_ms`: how long after it was asked for.
    """

    row: int
    topic: str
    payload: bytes
    correlation: bytes
    mqtt5: bool
    remaining_ms: int | None
    form: Form = "full"
    device: str = ""
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """One more way in which an answer is published. `expiry_ms` of its own, else the report's."""

    form: Form
    topic: str
    expiry_ms: int | None = None


class Copies(Protocol):
    """The transport's names for where else an answer goes."""

    def __call__(self, incoming: IncomingReport, alarm_key: str, event: AlarmEvent) -> tuple[Copy, ...]:
        """Of a report that says this of the alarm with this key (empty: it could not be read)."""


class Acknowledge(Protocol):
    """Tells the broker that a message is stored; from any thread, at any time."""

    def __call__(self) -> None:
        """It is stored."""

    def void(self) -> bool:
        """Whether it cannot be told any more: the connection has ended, and it sends the message again."""


class Inbox(Protocol):
    """Durable reports: stored before they are acknowledged, answered once, published until taken."""

    def accept(self, incoming: IncomingReport, on_stored: Acknowledge) -> None:
        """Take a report; never blocks, from any thread. `on_stored` runs (in any thread) once it is
        committed, and only then may the transport acknowledge. While the journal cannot write it is tried
        again, until `on_stored` is void.
        """

    def answers(self) -> AsyncIterator[OutgoingAnswer]:
        """Answers to publish, as they are journalled. At each new call, unpublished ones come again first;
        within one each comes once, and `again` where that is asked for.
        """

    def again(self, rows: Iterable[int]) -> None:
        """Let these come once more, those that are still unpublished. From the event loop."""

    def refused(self, row: int) -> None:
        """The broker does not take the answer, which waits on. Never blocks, from any thread."""

    def published(self, row: int) -> None:
        """The broker has taken the answer. Never blocks, from any thread."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The engine as it runs now."""

    name: str
    device: str
    model: str
    precision: str
    slots: int
    max_seq_len: int
    vocab_size: int
    cache_bytes: int
    running: int
    waiting: int
    step_ms: float
    prefill_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """The daemon as it is now. `state` is starting, ready, degraded or draining.

    `engine_choice`: which engine serves, and why. Until all `knowledge_texts` are embedded, manuals are
    searched by words alone; 0 of them where there is no embedder.
    """

    version: str
    state: str
    detail: str
    uptime_s: float
    engine: EngineFacts | None
    knowledge_version: str
    knowledge_entries: int
    broker_address: str
    broker_connected: bool
    broker_managed: bool
    journal_pending: int
    journal_unpublished: int
    counters: Mapping[str, int]
    power: PowerFacts | None = None
    engine_choice: str = ""
    knowledge_texts_embedded: int = 0
    knowledge_texts: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model that the daemon serves."""

    name: str
    architecture: str
    precision: str
    licence: str
    max_seq_len: int
    parameters: int
    languages: tuple[str, ...]
    source_sha256: str


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request: who asked what, how it ended and after how long. `payload`: as it was sent."""

    who: str
    what: str
    outcome: str
    took_ms: int = 0
    id: str = ""
    reason: str = ""
    diagnosis: str = ""
    payload: str = ""


class Auditor(Protocol):
    """Keeps a record of every request."""

    payloads: bool

    def record(self, record: AuditRecord) -> None:
        """Never waits, from any thread."""


class Admin(Protocol):
    """Tells how the daemon is."""

    def status(self) -> StatusFacts:
        """A snapshot; never blocks."""

    def models(self) -> tuple[ModelFacts, ...]:
        """What is loaded; empty while the engine is not."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter. Thread-safe."""
