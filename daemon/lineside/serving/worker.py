"""The one thread that owns the engine and runs its steps. Knows nothing of wires and of event loops."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lineside.engine.base import Engine, EngineFaultError, Extension
from lineside.errors import Reason, RejectedError
from lineside.power.pacer import Pacer
from lineside.serving.commands import Abort, Command, Ping, Stop, Submit, Work
from lineside.serving.delivery import Delivery
from lineside.serving.drafts import MOST_TOKENS, Chances, Drafter
from lineside.serving.scheduler import Scheduler
from lineside.serving.scoring import Scoring
from lineside.serving.sequence import Generation
from lineside.serving.steps import Sequence
from lineside.serving.tallies import NS_PER_S, StepKind, Tallies

if TYPE_CHECKING:
    from lineside.engine.base import Rows

log = logging.getLogger(__name__)

# Nobody has to hear at once that an answer has become impossible: so often it is looked for.
LOOK_NS = 100_000_000
BUG = "internal error; the daemon's log says more"


class Worker:
    """Runs steps while there are sequences, sleeps in its queue while there are none.

    `delivery` is asked once a step and once a batch of commands, so that what was delivered can cross to the
    event loop in one go. `on_failure` is told once if the thread dies of a bug.
    """

    def __init__(
        self,
        engine: Engine,
        delivery: Delivery,
        on_failure: Callable[[Exception], None],
        pacer: Pacer | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        self._engine = engine
        self._pacer = pacer or Pacer()
        self._tallies = tallies or Tallies()
        self._delivery = delivery
        self._on_failure = on_failure
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._works: dict[str, Work] = {}
        self._scheduler = Scheduler(engine.capabilities)
        self._chances = Chances()
        self._lock = threading.Lock()
        self._dead = False
        self._look_ns = 0  # when to look for hopeless ones again
        self._free_ns = time.monotonic_ns()  # the last step's end, later by what was waited since
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def cached(self, tokens: Iterable[int]) -> int:
        """See Scheduler.cached; any thread may ask."""
        return self._scheduler.cached(list(tokens))

    def start(self) -> None:
        """Begin; the engine belongs to the thread from here on."""
        self._thread.start()

    def send(self, command: Command) -> None:
        """Hand a command over; never blocks. Raises RejectedError(NOT_READY) for what will never run."""
        with self._lock:
            if self._dead and isinstance(command, Submit):
                message = "the engine has failed; the daemon is about to restart"
                raise RejectedError(Reason.NOT_READY, message)
            self._commands.put(command)

    def stop(self, timeout_s: float) -> bool:
        """End every sequence, then the thread. False when a step is still running after `timeout_s`."""
        self.send(Stop())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self.turn():
                pass
        except Exception as error:
            log.exception("the engine thread ends")
            # First of all, so that who hears of the end and asks again is refused, not left waiting.
            with self._lock:
                self._dead = True
            self._on_failure(error)
            self._end_all(Reason.INTERNAL, "the engine thread failed")
            self._refuse_sent()
            self._hand_over(True)

    def turn(self) -> bool:
        """Take what was sent, waiting where nothing runs; then a step. False once it was to stop."""
        if not self._take_commands():
            return False
        self._expire()
        self._step()
        self._pacer.finished()
        self._hand_over(False)
        return True

    def _refuse_sent(self) -> None:
        """End what was handed over in time and never taken."""
        with contextlib.suppress(queue.Empty):
            while True:
                command = self._commands.get_nowait()
                if isinstance(command, Submit):
                    message = "the engine thread failed"
                    command.work.abort(Reason.INTERNAL, message, time.monotonic_ns())

    def _take_commands(self) -> bool:
        """Apply what was sent; wait while nothing runs, or until the next step may begin. False to stop."""
        while (command := self._next_command()) is not None:
            if isinstance(command, Stop):
                self._end_all(Reason.DRAINING, "the daemon is stopping")
                self._hand_over(True)
                return False
            self._apply(command)
            if not self._works:
                return True  # what it ended is delivered before the next is waited for
        return True

    def _next_command(self) -> Command | None:
        """None where there is none and no more time to wait."""
        patience_s = self._patience_s()
        if patience_s == 0:
            return None if self._commands.empty() else self._commands.get()
        begun_ns = time.monotonic_ns()
        try:
            return self._commands.get(timeout=patience_s)
        except queue.Empty:
            return None
        finally:
            self._free_ns += time.monotonic_ns() - begun_ns  # what is waited is no overhead

    def _patience_s(self) -> float | None:
        """How long to wait for a command: for ever where there is nothing else to do."""
        if self._works:
            return self._pacer.pause_s()
        self._pacer.rest()
        return None

    def _apply(self, command: Submit | Abort | Ping) -> None:
        if isinstance(command, Submit):
            self._begin(command.work)
        elif isinstance(command, Ping):
            command.answer()
        elif command.request_id in self._works:
            self._end(command.request_id, command.reason, command.message)

    def _begin(self, work: Work) -> None:
        request = work.request
        sequence = Sequence.of(request)
        if isinstance(work, Generation):
            sequence.drafter = Drafter(self._chances)
        self._works[request.id] = work
        self._scheduler.add(sequence)
        self._look_ns = 0
        self._extend(sequence, lambda: work.open(time.monotonic_ns()))
        if isinstance(work, Generation):
            self._tallies.generated_tokens += work.completion_tokens  # the grammar may have begun it

    def _expire(self) -> None:
        now_ns = time.monotonic_ns()
        for request_id in self._scheduler.expired(now_ns):
            self._end(request_id, Reason.DEADLINE, "the deadline passed before the answer was complete")
        if now_ns < self._look_ns:
            return
        self._look_ns = now_ns + LOOK_NS
        for request_id in self._scheduler.hopeless(now_ns):
            message = "what is left of the answer takes longer than the deadline allows, so it was given up"
            self._end(request_id, Reason.UNREACHABLE, message)

    def _step(self) -> None:
        step = self._scheduler.plan(self._pacer.limit().max_batch)
        batch, sequences = step.batch, step.sequences
        for request_id in step.preempted:
            self._works[request_id].running = False
        if not batch:
            return
        longest = max([len(extension.tokens) for extension in batch])
        if longest > MOST_TOKENS + 1:  # no draft: a chunk to read
            self._hand_over(True)
        begun_ns = self._pacer.begin()
        overhead_ns = begun_ns - self._free_ns
        for sequence in step.begun:
            work = self._works[sequence.id]
            work.started_ns, work.running = work.started_ns or begun_ns, True
            work.reused_tokens = sequence.reused
        try:
            for copy in step.copies:
                self._engine.copy_prefix(copy)
            copied_ns = time.monotonic_ns()
            results = self._engine.forward(batch)
        except EngineFaultError as error:
            self._free_ns = time.monotonic_ns()
            log.error("engine fault: %s", error)  # noqa: TRY400  (the message holds what ONNX Runtime said)
            self._pacer.stepped(0)
            self._scheduler.forget_caches()
            for sequence in self._scheduler.by_slot().values() if error.caches_lost else sequences:
                self._end(sequence.id, Reason.ENGINE_FAULT, error.message)
            return
        ended_ns = self._free_ns = time.monotonic_ns()
        self._scheduler.took(batch, ended_ns - copied_ns)  # copies say nothing of how fast chunks are
        works = [self._works[sequence.id] for sequence in sequences]
        picking = [w for w, e in zip(works, batch, strict=True) if e.rows and isinstance(w, Generation)]
        self._charge(works, len(picking))
        written = sum([generation.completion_tokens for generation in picking])
        for sequence, extension, rows in zip(sequences, batch, results, strict=True):
            self._take(sequence, extension, rows)
        self._count(picking, written, ended_ns)
        kind: StepKind = "chunk" if longest > 1 else "decode"
        self._tallies.stepped(kind, ended_ns - begun_ns, overhead_ns)

    def _count(self, picking: list[Generation], written: int, ended_ns: int) -> None:
        """What a step has written, of which `written` tokens were there before, and since when."""
        tallies = self._tallies
        tallies.generated_tokens += sum([generation.completion_tokens for generation in picking]) - written
        for generation in picking:
            if generation.picked_ns:
                tallies.between_tokens.observe((ended_ns - generation.picked_ns) / NS_PER_S)
            generation.picked_ns = ended_ns

    def _charge(self, works: list[Work], picked: int) -> None:
        """What the step drew goes to the requests in it, in equal parts."""
        joules = self._pacer.stepped(picked)
        if joules is not None:
            for work in works:
                work.energy_j = (work.energy_j or 0.0) + joules / len(works)

    def _take(self, sequence: Sequence, extension: Extension, rows: Rows) -> None:
        self._scheduler.advance(extension, sequence.id)
        if not extension.rows:
            return
        work, now_ns = self._works[sequence.id], time.monotonic_ns()
        if isinstance(work, Scoring):
            self._extend(sequence, lambda: work.take(rows, now_ns))
            return
        self._extend(sequence, lambda: work.take(rows, now_ns, sequence.drafted))

    def _extend(self, sequence: Sequence, tokens_of: Callable[[], list[int]]) -> None:
        """Let a request say how it goes on. Whatever goes wrong in one ends that one alone.

        It has ended where nothing is left to read: a scoring may have more of its prompt to come.
        """
        work = self._works[sequence.id]
        try:
            self._pacer.tokens += self._scheduler.extend(sequence, tokens_of())
            if sequence.pending and isinstance(work, Generation):
                draft = self._scheduler.draft(sequence)
                sequence.draft = work.permitted(draft) if draft else draft
        except RejectedError as refusal:
            self._end(sequence.id, refusal.reason, refusal.message)
        except Exception:
            log.exception("request %s failed", sequence.id)
            self._end(sequence.id, Reason.INTERNAL, BUG)
        else:
            if not sequence.pending:
                self._forget(sequence.id)

    def _hand_over(self, everything: bool) -> None:
        """Post what is due, as text; `everything` is where the next call may be long in coming."""
        due = self._delivery.due(everything)
        if due:
            for request_id in list(self._works):
                self._speak(request_id)
        self._delivery.hand_over(due)

    def _speak(self, request_id: str) -> None:
        work = self._works[request_id]
        try:
            if isinstance(work, Generation):
                work.speak()
        except Exception:
            log.exception("request %s failed", request_id)
            self._end(request_id, Reason.INTERNAL, BUG)

    def _end(self, request_id: str, reason: Reason, message: str) -> None:
        self._works[request_id].abort(reason, message, time.monotonic_ns())
        self._forget(request_id)

    def _end_all(self, reason: Reason, message: str) -> None:
        for request_id in list(self._works):
            self._end(request_id, reason, message)

    def _forget(self, request_id: str) -> None:
        del self._works[request_id]
        self._scheduler.remove(request_id)
