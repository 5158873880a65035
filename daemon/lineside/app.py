"""Wiring and life cycle: what is made from what, in which order it starts, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from lineside import collector
from lineside.allocator import give_back
from lineside.answering import Answering
from lineside.beginning import Beginning
from lineside.config import Config, MqttConfig
from lineside.devices.enrich import EnrichingDiagnoser
from lineside.devices.file import DeviceStore
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.pipeline import Pipeline
from lineside.dispatch import Desk, DeskLimits
from lineside.engine.choose import RULES
from lineside.engine.pages import join
from lineside.errors import LinesideError
from lineside.feedback.desk import FeedbackDesk
from lineside.feedback.file import limits_of
from lineside.feedback.history import History
from lineside.feedback.recorder import RecordingDiagnoser
from lineside.feedback.store import FeedbackStore
from lineside.gateways.gateways import load_gateways
from lineside.once import Once, OnceDiagnoser, OnceGenerator
from lineside.ports import Diagnoser
from lineside.power.pacer import Pacer
from lineside.power.settings import Settings
from lineside.power.start import start_governor
from lineside.power_desk import PowerDesk
from lineside.reader import EngineReader
from lineside.reading_ahead import ReadingAhead
from lineside.running_model import RunningModel
from lineside.searching import open_search
from lineside.security.files import CertificateFiles
from lineside.security.roles import Roles
from lineside.serving.no_model import NoModel
from lineside.serving.schema_check import CheckedGenerator, SchemaChecker
from lineside.serving.service import GenerationService
from lineside.serving.tallies import Tallies
from lineside.supervision.notify import Notifier, from_environment
from lineside.supervision.reload import reload
from lineside.supervision.watchdog import Proof, feed, loading
from lineside.telemetry.audit import make_audit
from lineside.telemetry.diagnoses import CountedDiagnoser, DiagnosisTallies
from lineside.telemetry.status import Sources, Status
from lineside.transport.grpc.calls import CallDefaults
from lineside.transport.grpc.server import GrpcServer, Served
from lineside.transport.mqtt.copies import MqttCopies
from lineside.transport.mqtt.lan import lan_of
from lineside.transport.mqtt.link import MqttLink
from lineside.transport.mqtt.managed import ManagedBroker
from lineside.writer import writer_of

if TYPE_CHECKING:
    from lineside.transport.http.metrics import MetricsServer

log = logging.getLogger(__name__)

ABORT_S = 2.0


async def serve(config: Config, beginning: Beginning, read_config: Callable[[], Config]) -> None:
    """Run until SIGTERM or SIGINT; at SIGHUP, `read_config` again.

    Raises LinesideError where the daemon cannot start or go on.
    """
    notifier = from_environment()
    async with contextlib.AsyncExitStack() as stack:
        app = App(config, beginning, stack)
        async with loading(notifier):
            await app.start()
        await app.run(notifier, lambda: reload(config, read_config, notifier))
    if app.failure is not None:
        hint = "see the log above; a supervisor such as systemd starts the daemon again"
        raise LinesideError("run engine", repr(app.failure), hint)


class App:
    """One run of the daemon. What `start` opens, the stack closes in the opposite order."""

    def __init__(self, config: Config, beginning: Beginning, stack: contextlib.AsyncExitStack) -> None:
        self.failure: Exception | None = None
        self._config = config
        self._begun_s = beginning.begun_s
        self._journal, self._loading = beginning.journal, beginning.loading
        self._stack = stack
        self._status = Status()
        self._engine_choice = self._engine_trouble = ""
        self._pacer = Pacer()
        self._audit = make_audit(config.telemetry.audit)
        self._tallies, self._diagnosed = Tallies(), DiagnosisTallies()
        self._stopping = anyio.Event()
        self._drain_s = config.drain_timeout_ms / 1000

    async def start(self) -> None:
        """Open everything that can fail, the cheap and exclusive first."""
        config, stack = self._config, self._stack
        self._verdicts = FeedbackStore(config.feedback_path, limits_of(config.feedback))
        stack.callback(self._verdicts.close)
        self._feedback = FeedbackDesk(self._verdicts, self._status.count)
        stack.callback(self._feedback.close)
        self._devices = DeviceStore(config.devices_path)
        self._store = Store(config.knowledge_path)
        stack.callback(self._store.close)
        if not self._store.entries:
            log.warning(
                "no manual has been imported: every report will be abstained from; lineside kb import"
            )
        settings = Settings(config.power, config.power_setting_path)
        self._governor = start_governor(config, self._pacer, settings)
        stack.callback(self._governor.stop)
        self._power_desk = PowerDesk(settings, self._status.count)
        stack.callback(self._power_desk.close)
        self._gateways = load_gateways(config.mqtt.mappings, config.plant.timezone)
        self._broker, mqtt = await self._start_broker()
        self._model = await self._load_model()
        self._search = await open_search(config, self._store, stack)
        pipeline = self._make_pipeline()
        await pipeline.warm_up()
        diagnoser = self._make_diagnoser(pipeline)
        self._desk = self._make_desk(diagnoser)
        await self._desk.record_restored()
        self._link = None
        if mqtt is not None:
            self._link = MqttLink(
                mqtt, self._desk, self._status, self._gateways, self._power_desk, self._audit
            )
        self._status.sources = self._sources()
        self._grpc = await self._start_grpc(diagnoser)
        self._metrics = await self._start_metrics()
        give_back()
        collector.resume()

    async def run(self, notifier: Notifier, on_reload: Callable[[], None]) -> None:
        """Serve until told to stop, then drain."""
        async with anyio.create_task_group() as group:
            await group.start(self._signals, on_reload, name="signals")
            group.start_soon(feed, notifier, self._proofs(), name="watchdog")
            group.start_soon(self._desk.run, name="desk")
            if self._broker is not None:
                group.start_soon(self._broker.watch, name="broker")
            if self._grpc is not None:
                group.start_soon(self._grpc.watch, name="gRPC")
            if self._link is not None:
                group.start_soon(self._link.run, name="mqtt")
            if self._metrics is not None:
                group.start_soon(self._metrics.run, name="metrics")
            if self._ahead is not None:
                group.start_soon(self._ahead.run, name="reading ahead")
            self._status.state = "ready"
            if self._grpc is not None:
                await self._grpc.set_serving(True)
            log.info("ready", extra={"seconds": round(time.monotonic() - self._begun_s, 2)})
            notifier.send(READY=1, STATUS="serving")
            if self._model is not None:
                # What was loaded stays where it is from now on; nobody waits for this.
                threading.Thread(target=join, name="pages", daemon=True).start()
            await self._stopping.wait()
            notifier.send(STOPPING=1, STATUS="draining")
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

    async def _signals(
        self, on_reload: Callable[[], None], *, task_status: anyio.abc.TaskStatus[None]
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for received in signals:
                if received == signal.SIGHUP:
                    on_reload()
                    if self._broker is not None:
                        await self._broker.reload()
                else:
                    self._stopping.set()

    def _proofs(self) -> dict[str, Proof]:
        """Who has to go on for the daemon to be of use."""
        proofs: dict[str, Proof] = {}
        if self._model is not None:
            proofs["engine"] = self._model.service.progress
        if self._grpc is not None:
            proofs["gRPC"] = self._grpc.progress
        if self._link is not None:
            proofs["MQTT"] = self._link.progress
        return proofs

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
        lan = lan_of(self._config, self._config.certs_path)
        broker = ManagedBroker(mqtt, self._config.managed_broker_path, lan)
        reached = await broker.start()
        self._stack.push_async_callback(broker.stop)
        return broker, reached

    async def _load_model(self) -> RunningModel | None:
        """The bundle's model, running; None where diagnoses do without."""
        config = self._config
        if self._loading is None:
            setting = "[diagnosis] mode" if config.diagnosis.mode == RULES else "[engine] name"
            self._engine_choice = f"{RULES}: as configured by {setting}"
            return None
        loaded = await anyio.to_thread.run_sync(self._loading.finish)
        choice = loaded.choice
        self._engine_choice, self._engine_trouble = f"{choice.name}: {choice.reason}", choice.trouble
        if choice.engine is None:
            return None
        self._stack.callback(choice.engine.close)
        service = GenerationService(
            choice.engine,
            loaded.tokenizer,
            loaded.grammars,
            max_waiting=config.engine.max_waiting,
            on_failure=self._engine_failed,
            pacer=self._pacer,
            tallies=self._tallies,
        )
        # What runs has had its time in _drain by then.
        self._stack.push_async_callback(service.drain, ABORT_S)
        return RunningModel(loaded, choice.engine, service)

    def _make_pipeline(self) -> Pipeline:
        config, model = self._config, self._model
        writer = reader = self._ahead = None
        if model is not None:
            writer = writer_of(model.service, model.loaded.bundle.manifest, config.diagnosis.thinking_tokens)
            if config.diagnosis.rereading == "auto":
                reader = EngineReader(model.service, writer.model_name)
            if places := model.engine.capabilities.lasting_slots:
                locale = config.plant.locale
                self._ahead = ReadingAhead(self._store, writer, locale, places, self._status.count)
        return Pipeline(
            self._search.searcher,
            writer,
            reader=reader,
            locale=config.plant.locale,
            mode=config.diagnosis.by,
            history=History(self._verdicts),
            energy=self._governor.energy,
            on_asked=self._ahead.asked if self._ahead else None,
        )

    def _make_diagnoser(self, pipeline: Pipeline) -> Diagnoser:
        recording = RecordingDiagnoser(pipeline, self._verdicts, self._status.count)
        # Around the recording, so that a verdict is on the report as it was understood.
        enriching = EnrichingDiagnoser(recording, self._devices)
        return CountedDiagnoser(enriching, self._diagnosed)

    def _make_desk(self, diagnoser: Diagnoser) -> Desk:
        engine = self._config.engine
        # A budget for the caches may leave fewer than are configured.
        slots = self._model.engine.capabilities.slots if self._model else engine.slots
        limits = DeskLimits(slots, self._config.mqtt.max_pending_reports)
        loop = asyncio.get_running_loop()
        answering = Answering(diagnoser, engine.default_timeout_ms, self._gateways.zone)
        copies = MqttCopies(self._config.mqtt.alarm_expiry_s)
        return Desk(
            self._journal, answering, limits, self._status.count, loop, self._feedback, copies, self._audit
        )

    async def _start_grpc(self, diagnoser: Diagnoser) -> GrpcServer | None:
        config = self._config
        if not config.grpc.enabled:
            return None
        once = Once(self._journal)
        checker = SchemaChecker()
        self._stack.callback(checker.close)
        generator = (
            NoModel(self._engine_choice)
            if self._model is None
            else CheckedGenerator(self._model.service, checker)
        )
        server = GrpcServer(
            config.grpc,
            Served(
                OnceGenerator(generator, once),
                OnceDiagnoser(diagnoser, once),
                self._feedback,
                self._power_desk,
                self._audit,
            ),
            self._status,
            CallDefaults(
                config.engine.default_timeout_ms,
                config.engine.default_max_tokens,
                Roles(config.security.operators),
            ),
            CertificateFiles(config.certs_path),
        )
        await server.start()
        self._stack.push_async_callback(server.stop, 0.0)
        return server

    async def _start_metrics(self) -> MetricsServer | None:
        address = self._config.telemetry.metrics
        if not address:
            return None
        # prometheus_client, for whoever has it scraped.
        from lineside.telemetry.metrics import Metrics  # noqa: PLC0415
        from lineside.transport.http.metrics import MetricsServer  # noqa: PLC0415

        metrics = Metrics(self._status.status, self._tallies, self._diagnosed, self._desk.waiting)
        server = MetricsServer(address, metrics.page)
        await server.start()
        self._stack.push_async_callback(server.stop)
        return server

    def _sources(self) -> Sources:
        link, desk, model, search = self._link, self._desk, self._model, self._search
        return Sources(
            engine=lambda: None if model is None else model.engine_facts(),
            models=lambda: () if model is None else (model.facts(),),
            knowledge=lambda: (self._store.version, self._store.entries),
            broker=lambda: (
                (link.address, link.connected, self._broker is not None) if link else ("", False, False)
            ),
            journal=lambda: (desk.pending, desk.unpublished),
            trouble=lambda: "; ".join(filter(None, (desk.trouble, self._engine_trouble, *search.troubles))),
            engine_choice=lambda: self._engine_choice,
            power=self._governor.facts,
            embedded=lambda: search.embedded,
        )
