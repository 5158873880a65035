"""Wiring and life cycle: what is made from what, in which order it starts, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time

import anyio
import msgspec

from lineside.config import Config, MqttConfig
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.pipeline import Pipeline
from lineside.dispatch import Desk, DeskLimits
from lineside.engine.bundle import Bundle
from lineside.errors import LinesideError
from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.loading import load
from lineside.once import Once, OnceDiagnoser, OnceGenerator
from lineside.ports import EngineFacts, ModelFacts
from lineside.serving.schema_check import CheckedGenerator, SchemaChecker
from lineside.serving.service import GenerationService
from lineside.telemetry.status import Sources, Status
from lineside.transport.grpc.calls import CallDefaults
from lineside.transport.grpc.server import GrpcServer
from lineside.transport.mqtt.link import MqttLink
from lineside.transport.mqtt.managed import ManagedBroker
from lineside.writer import EngineWriter

log = logging.getLogger(__name__)

ABORT_S = 2.0


async def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT. Raises LinesideError where the daemon cannot start or go on."""
    async with contextlib.AsyncExitStack() as stack:
        app = App(config, stack)
        await app.start()
        await app.run()
    if app.failure is not None:
        hint = "see the log above; a supervisor such as systemd starts the daemon again"
        raise LinesideError("run engine", repr(app.failure), hint)


class App:
    """One run of the daemon. What `start` opens, the stack closes in the opposite order."""

    def __init__(self, config: Config, stack: contextlib.AsyncExitStack) -> None:
        self.failure: Exception | None = None
        self._begun_s = time.monotonic()
        self._config = config
        self._stack = stack
        self._status = Status()
        self._stopping = anyio.Event()
        self._drain_s = config.drain_timeout_ms / 1000

    async def start(self) -> None:
        """Open everything that can fail, the cheap and exclusive first."""
        config, stack = self._config, self._stack
        limits = Limits(config.journal.keep_answers, config.journal.max_bytes)
        self._journal = Journal(config.journal_path, limits)
        stack.callback(self._journal.close)
        self._store = Store(config.knowledge_path)
        stack.callback(self._store.close)
        if not self._store.entries:
            log.warning(
                "no manual has been imported: every report will be abstained from; lineside kb import"
            )
        self._broker, mqtt = await self._start_broker()
        self._loaded = await anyio.to_thread.run_sync(load, config)
        stack.callback(self._loaded.engine.close)
        self._service = self._make_service()
        # What runs has had its time in _drain by then.
        stack.push_async_callback(self._service.drain, ABORT_S)
        pipeline = self._make_pipeline()
        self._desk = self._make_desk(pipeline)
        self._link = None if mqtt is None else MqttLink(mqtt, self._desk, self._status)
        self._status.sources = self._sources()
        self._grpc = await self._start_grpc(pipeline)

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._signals, name="signals")
            group.start_soon(self._desk.run, name="desk")
            if self._broker is not None:
                group.start_soon(self._broker.watch, name="broker")
            if self._link is not None:
                group.start_soon(self._link.run, name="mqtt")
            self._status.state = "ready"
            if self._grpc is not None:
                await self._grpc.set_serving(True)
            log.info("ready", extra={"seconds": round(time.monotonic() - self._begun_s, 2)})
            await self._stopping.wait()
            self._status.state = "draining"
            log.info("stopping")
            await self._drain()
            group.cancel_scope.cancel()
        log.info("stopped")

    async def _drain(self) -> None:
        """Stop accepting, let what runs end, publish it, then leave the broker."""
        if self._grpc is not None:
            await self._grpc.set_serving(False)
        async with anyio.create_task_group() as group:
            if self._grpc is not None:
                group.start_soon(self._grpc.stop, self._drain_s)
            group.start_soon(self._desk.drain, self._drain_s)
        if self._link is not None:
            await self._link.stop()

    async def _signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                self._stopping.set()

    def _engine_failed(self, error: Exception) -> None:
        self.failure = error
        self._stopping.set()

    async def _start_broker(self) -> tuple[ManagedBroker | None, MqttConfig | None]:
        """The managed broker, and where to find the broker whoever manages it."""
        mqtt = self._config.mqtt
        if mqtt.broker == "off":
            return None, None
        if mqtt.broker == "external":
            return None, mqtt
        broker = ManagedBroker(mqtt, self._config.managed_broker_path)
        port = await broker.start()
        self._stack.push_async_callback(broker.stop)
        return broker, msgspec.structs.replace(mqtt, host="127.0.0.1", port=port)

    def _make_service(self) -> GenerationService:
        return GenerationService(
            self._loaded.engine,
            self._loaded.tokenizer,
            self._loaded.grammars,
            max_waiting=self._config.engine.max_waiting,
            on_failure=self._engine_failed,
        )

    def _make_pipeline(self) -> Pipeline:
        searcher = Searcher(self._store, self._config.knowledge.max_entries)
        writer = EngineWriter(self._service, self._loaded.bundle.manifest)
        return Pipeline(searcher, writer, locale=self._config.plant.locale)

    def _make_desk(self, pipeline: Pipeline) -> Desk:
        engine = self._config.engine
        limits = DeskLimits(engine.slots, self._config.mqtt.max_pending_reports, engine.default_timeout_ms)
        return Desk(self._journal, pipeline, limits, self._status.count, asyncio.get_running_loop())

    async def _start_grpc(self, pipeline: Pipeline) -> GrpcServer | None:
        config = self._config
        if not config.grpc.enabled:
            return None
        once = Once(self._journal)
        checker = SchemaChecker()
        self._stack.callback(checker.close)
        server = GrpcServer(
            config.grpc,
            OnceGenerator(CheckedGenerator(self._service, checker), once),
            OnceDiagnoser(pipeline, once),
            self._status,
            CallDefaults(config.engine.default_timeout_ms, config.engine.default_max_tokens),
        )
        await server.start()
        self._stack.push_async_callback(server.stop, 0.0)
        return server

    def _sources(self) -> Sources:
        link, desk = self._link, self._desk
        return Sources(
            engine=self._engine_facts,
            models=lambda: (_model_facts(self._loaded.bundle),),
            knowledge=lambda: (self._store.version, self._store.entries),
            broker=lambda: (
                (link.address, link.connected, self._broker is not None) if link else ("", False, False)
            ),
            journal=lambda: (desk.pending, desk.unpublished),
            trouble=lambda: desk.trouble,
        )

    def _engine_facts(self) -> EngineFacts:
        capabilities, manifest = self._loaded.engine.capabilities, self._loaded.bundle.manifest
        costs = capabilities.costs
        running = min(self._service.live, capabilities.slots)
        return EngineFacts(
            name=capabilities.name,
            device=capabilities.device,
            model=manifest.name,
            precision=manifest.precision,
            slots=capabilities.slots,
            max_seq_len=capabilities.max_seq_len,
            vocab_size=capabilities.vocab_size,
            cache_bytes=capabilities.cache_bytes,
            running=running,
            waiting=self._service.live - running,
            step_ms=costs.step(1) / 1e6,
            prefill_tokens_per_s=capabilities.max_chunk_tokens
            * 1e9
            / costs.chunk(capabilities.max_chunk_tokens),
        )


def _model_facts(bundle: Bundle) -> ModelFacts:
    manifest = bundle.manifest
    return ModelFacts(
        name=manifest.name,
        architecture=manifest.architecture,
        precision=manifest.precision,
        licence=manifest.licence,
        max_seq_len=manifest.max_seq_len,
        parameters=manifest.parameters,
        languages=manifest.languages,
        source_sha256=manifest.source.sha256,
    )
