"""Generations for the event loop: admission, hand-over to the worker thread, events back.

Knows nothing of wires, and of steps only that the worker runs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio
import jinja2
from anyio.streams.memory import MemoryObjectSendStream

from lineside.engine.base import Engine
from lineside.errors import Reason, RejectedError
from lineside.ports import Call, GenerateJob, ScoreJob
from lineside.power.pacer import Pacer
from lineside.serving.admission import Admission, Live, reading_ns
from lineside.serving.commands import Abort, Ping, Submit, Work
from lineside.serving.delivery import Delivered, Delivery
from lineside.serving.drafts import agreed
from lineside.serving.grammar import Grammar, GrammarCompiler
from lineside.serving.request import EndEvent, Event, Priority, Request, Sampling, TokenEvent
from lineside.serving.scoring import Scoring
from lineside.serving.sequence import Generation
from lineside.serving.tallies import Load, Tallies
from lineside.serving.tokenizer import Tokenizer
from lineside.serving.worker import Worker

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiter:
    live: Live
    events: MemoryObjectSendStream[Event]
    work: Work


class GenerationService:
    """Implements ports.Generator. Every method belongs to the event loop that made it."""

    def __init__(  # noqa: PLR0913 the last four have names
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        grammars: GrammarCompiler,
        *,
        max_waiting: int,
        on_failure: Callable[[Exception], None],
        pacer: Pacer | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        pacer = pacer or Pacer()
        self._tallies = tallies or Tallies()
        self._tallies.load = self._load
        self._capabilities = engine.capabilities
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._admission = Admission(self._capabilities, max_waiting, pacer.limit)
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[str, _Waiter] = {}
        self._delivery = Delivery(self._post)
        self._ids = itertools.count(1)
        self._draining = False
        self._idle = anyio.Event()
        self._on_failure = on_failure
        self._worker = Worker(engine, self._delivery, self._worker_failed, pacer, self._tallies)
        self._worker.start()

    @property
    def live(self) -> int:
        """Requests that are running or waiting."""
        return len(self._waiters)

    def framing_tokens(self, thinking_tokens: int) -> int:
        """Tokens that the chat template adds around a system and a user turn, a thought included."""
        framing = self._tokenizer.count(self._tokenizer.chat((("system", ""), ("user", "")), thinking_tokens))
        return framing + (thinking_tokens and self._tokenizer.thought_tokens(thinking_tokens))

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` has."""
        return self._tokenizer.count(text)

    async def generate(self, job: GenerateJob, expected_tokens: int = 1) -> AsyncIterator[Event]:
        """See ports.Generator. `expected_tokens`: see Request."""
        with self._tallies.refusals():
            request, grammar = await self._prepare(job, expected_tokens)

        async with contextlib.aclosing(self._admitted(request, self._generation(request, grammar))) as events:
            async for event in events:
                yield event

    def _generation(
        self, request: Request, grammar: Grammar | None = None
    ) -> Callable[[Callable[[Event], None], int], Generation]:
        cap = self._capabilities.max_seq_len
        return lambda deliver, now_ns: Generation(request, self._tokenizer, grammar, cap, deliver, now_ns)

    async def _prepare(self, job: GenerateJob, expected_tokens: int) -> tuple[Request, Grammar | None]:
        """What is asked, in tokens. Raises RejectedError."""
        text, asked = self._prompt(job)
        prompt = tuple(await anyio.to_thread.run_sync(self._tokenizer.encode, text))
        thinking = self._thinking(asked, len(prompt), job.sampling.max_tokens)
        request = Request(
            id=str(next(self._ids)),
            prompt=prompt,
            deadline_ns=job.call.deadline_ns,
            principal=job.call.principal,
            sampling=job.sampling,
            json_schema=job.json_schema,
            priority=Priority.NORMAL if job.call.priority is None else job.call.priority,
            expected_tokens=expected_tokens + thinking,
            thinking_tokens=thinking,
            show_thinking=job.show_thinking,
        )
        if job.json_schema is None:
            return request, None
        return request, await anyio.to_thread.run_sync(self._grammars.compile, job.json_schema)

    async def beginning(self, one: GenerateJob, other: GenerateJob) -> list[int]:
        """The tokens that both prompts begin with."""
        texts = [self._prompt(job)[0] for job in (one, other)]
        first, second = [await anyio.to_thread.run_sync(self._tokenizer.encode, text) for text in texts]
        return first[: agreed(first, second)]

    def cached(self, tokens: Iterable[int]) -> int:
        """How many of the first of them are cached now."""
        return self._worker.cached(tokens)

    async def read_ahead(self, tokens: Sequence[int], call: Call) -> None:
        """Read what prompts will begin with, so that it stays cached. Raises RejectedError.

        Nobody waits for it: whatever else is asked goes first.
        """
        request = Request(
            id=str(next(self._ids)),
            prompt=tuple(tokens),
            deadline_ns=call.deadline_ns,
            principal=call.principal,
            sampling=Sampling(max_tokens=1),
            priority=Priority.LOW,
            lasting=True,
        )
        async with contextlib.aclosing(self._admitted(request, self._generation(request))) as events:
            async for _ in events:
                pass

    async def score(self, job: ScoreJob) -> EndEvent:
        """How likely `job.text` is behind its prompt: the end's `logprobs`. Raises RejectedError at first."""
        prompt, text = await anyio.to_thread.run_sync(self._encoded, job)
        for field, tokens in (("prompt", prompt), ("text", text)):
            if not tokens:
                raise RejectedError(Reason.INVALID, f"the {field} is empty", field=field)
        request = Request(
            id=str(next(self._ids)),
            prompt=(*prompt, *text),
            deadline_ns=job.call.deadline_ns,
            principal=job.call.principal,
            priority=Priority.NORMAL if job.call.priority is None else job.call.priority,
            expected_tokens=0,
            scored_tokens=len(text),
        )
        async with contextlib.aclosing(self._admitted(request, partial(Scoring, request))) as events:
            async for event in events:
                if isinstance(event, EndEvent):
                    return event
        raise AssertionError("every admitted request ends")

    async def _admitted(
        self, request: Request, begin: Callable[[Callable[[Event], None], int], Work]
    ) -> AsyncGenerator[Event, None]:
        """What a request hears once it is admitted. Raises RejectedError where it is not."""
        # What nobody has asked for is tried again every second: refused, it is no refused request.
        with contextlib.nullcontext() if request.lasting else self._tallies.refusals():
            if self._draining:
                raise RejectedError(Reason.DRAINING, "the daemon is stopping")
            now_ns = time.monotonic_ns()
            live = Live(request, cached_tokens=self._worker.cached(request.prompt))
            others = self._live()
            displaced = self._admission.check(live, others, now_ns)
            work = begin(partial(self._delivery.add, request.id), now_ns)
            self._worker.send(Submit(work))
        # Unbounded, and yet bounded: a request yields no more events than its sequence cap has tokens.
        send, receive = anyio.create_memory_object_stream[Event](math.inf)
        # What it delivers already reaches this loop later: it is posted.
        self._waiters[request.id] = _Waiter(live, send, work)
        if displaced:
            displaced.retry_after_ms = self._admission.retry_ms(others)
            message = "a more urgent request has its place"
            self._worker.send(Abort(displaced.request.id, Reason.OVERLOAD, message))
        try:
            async for event in receive:
                yield event
        finally:
            receive.close()
            if request.id in self._waiters:
                self._worker.send(Abort(request.id, Reason.CANCELLED, "the client has gone"))

    def _live(self) -> list[Live]:
        """What is admitted and not on its way out, in the order of coming."""
        for waiter in self._waiters.values():
            waiter.live.begun = waiter.work.started_ns > 0
        return [waiter.live for waiter in self._waiters.values() if not waiter.live.retry_after_ms]

    def _load(self) -> Load:
        """What is admitted now; reads what the engine's thread writes, each value whole."""
        waiters = self._waiters.values()
        running = [waiter.live for waiter in waiters if waiter.work.running]
        waiting = Counter(one.live.request.priority for one in waiters if not one.work.running)
        cached = sum(len(live.request.prompt) + live.written_tokens for live in running)
        positions = self._capabilities.slots * self._capabilities.max_seq_len
        return Load(len(running), waiting, min(cached / positions, 1.0))

    def _encoded(self, job: ScoreJob) -> tuple[list[int], list[int]]:
        disarm = self._tokenizer.disarm
        return self._tokenizer.encode(disarm(job.prompt)), self._tokenizer.encode_more(disarm(job.text))

    def reading_ns(self, tokens: int) -> int:
        """Predicted time to read so many tokens at the pace that power allows, were nothing else running."""
        return round(reading_ns(tokens, self._capabilities) / self._admission.limit().duty)

    async def progress(self) -> None:
        """Returns once the engine's thread is between two steps; a stuck step never is."""
        answered = anyio.Event()

        def answer() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(answered.set)

        self._worker.send(Ping(answer))
        await answered.wait()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new requests, let the admitted ones end, then end the thread."""
        self._draining = True
        if self._waiters:
            with anyio.move_on_after(timeout_s):
                await self._idle.wait()
        if not await anyio.to_thread.run_sync(self._worker.stop, timeout_s):
            log.error("the engine is still in a step; it ends with the process")

    def _prompt(self, job: GenerateJob) -> tuple[str, int]:
        """The prompt's text, and how many tokens of thought are wanted."""
        asked = self._tokenizer.thinking_tokens if job.thinking_tokens is None else job.thinking_tokens
        if asked > self._capabilities.max_seq_len:
            message = f"at most {self._capabilities.max_seq_len}"
            raise RejectedError(Reason.INVALID, message, field="thinking_tokens")
        if not job.messages:
            return job.prompt, asked
        try:
            return self._tokenizer.chat(((m.role, m.content) for m in job.messages), asked), asked
        except jinja2.TemplateError as error:
            message = f"messages: the model's chat template refuses them: {error}"
            raise RejectedError(Reason.INVALID, message, field="messages") from None

    def _thinking(self, asked: int, prompt_tokens: int, max_tokens: int) -> int:
        """What fits beside the prompt and the answer, or beside half of what is left where that is less."""
        if not self._tokenizer.marks:
            return 0
        left = self._capabilities.max_seq_len - prompt_tokens - self._tokenizer.thought_tokens(0)
        return max(min(asked, left - min(max_tokens, left // 2)), 0)

    def _worker_failed(self, error: Exception) -> None:
        """On the worker's thread."""
        self._loop.call_soon_threadsafe(self._on_failure, error)

    def _post(self, delivered: list[Delivered]) -> None:
        """On the worker's thread."""
        self._loop.call_soon_threadsafe(self._dispatch, delivered)

    def _dispatch(self, delivered: Iterable[Delivered]) -> None:
        for request_id, event in delivered:
            waiter = self._waiters[request_id]
            with contextlib.suppress(
                anyio.BrokenResourceError
            ):  # the client has gone, its abort is on the way
                waiter.events.send_nowait(_told(event, waiter.live))
            if isinstance(event, TokenEvent):
                waiter.live.written_tokens += len(event.tokens)
            else:
                if not waiter.live.request.lasting:
                    self._tallies.end(event)
                waiter.events.close()
                del self._waiters[request_id]
                if self._draining and not self._waiters:
                    self._idle.set()


def _told(event: Event, live: Live) -> Event:
    """An event as the client hears it: who had to give its place up hears when to come back."""
    if isinstance(event, EndEvent) and event.reason is Reason.OVERLOAD:
        return replace(event, retry_after_ms=live.retry_after_ms)
    return event
