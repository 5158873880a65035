"""A bundle's model for an evaluation, as a writer of diagnoses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from lineside.config import BundleConfig, Config, EngineConfig
from lineside.errors import LinesideError
from lineside.evaluation.cases import EvaluationError
from lineside.loading import load
from lineside.serving.service import GenerationService
from lineside.writer import EngineWriter, writer_of

_DRAIN_S = 2.0


@contextlib.asynccontextmanager
async def open_model(bundle: Path) -> AsyncIterator[EngineWriter]:
    """The model as the daemon runs it, one sequence at a time."""
    config = Config(bundle=BundleConfig(path=str(bundle)), engine=EngineConfig(slots=1))
    loaded = await anyio.to_thread.run_sync(load, config)
    engine = loaded.choice.engine
    if engine is None:
        raise EvaluationError("load model", loaded.choice.trouble, "evaluate without a model, or mend it")
    try:
        service = GenerationService(
            engine, loaded.tokenizer, loaded.grammars, max_waiting=4, on_failure=_fail
        )
        try:
            yield writer_of(service, loaded.bundle.manifest, config.diagnosis.thinking_tokens)
        finally:
            await service.drain(_DRAIN_S)
    finally:
        engine.close()


def _fail(error: Exception) -> None:
    raise LinesideError("run engine", repr(error), "see the log above")
