"""A bundle's model for an evaluation: as a writer and a reader of diagnoses, or its engine as it is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from lineside.config import BundleConfig, Config, DiagnosisConfig, EngineConfig
from lineside.engine.base import Engine
from lineside.errors import LinesideError
from lineside.evaluation.cases import EvaluationError
from lineside.loading import Loaded, load
from lineside.reader import EngineReader
from lineside.serving.service import GenerationService
from lineside.writer import EngineWriter, writer_of

_DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Model:
    """What the daemon asks of a model."""

    writer: EngineWriter
    reader: EngineReader

    @property
    def name(self) -> str:
        """By which answers and calibrations know it."""
        return self.writer.model_name


@contextlib.asynccontextmanager
async def open_engine(bundle: Path) -> AsyncIterator[tuple[Engine, Loaded]]:
    """The engine that the daemon would choose, one sequence at a time."""
    config = Config(bundle=BundleConfig(path=str(bundle)), engine=EngineConfig(slots=1))
    loaded = await anyio.to_thread.run_sync(load, config)
    engine = loaded.choice.engine
    if engine is None:
        raise EvaluationError("load model", loaded.choice.trouble, "evaluate without a model, or mend it")
    try:
        yield engine, loaded
    finally:
        engine.close()


@contextlib.asynccontextmanager
async def open_model(bundle: Path) -> AsyncIterator[Model]:
    """The model as the daemon runs it."""
    async with open_engine(bundle) as (engine, loaded):
        service = GenerationService(
            engine, loaded.tokenizer, loaded.grammars, max_waiting=4, on_failure=_fail
        )
        try:
            writer = writer_of(service, loaded.bundle.manifest, DiagnosisConfig().thinking_tokens)
            yield Model(writer, EngineReader(service, writer.model_name))
        finally:
            await service.drain(_DRAIN_S)


def _fail(error: Exception) -> None:
    raise LinesideError("run engine", repr(error), "see the log above")
