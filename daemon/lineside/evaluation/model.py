"""A bundle's model for an evaluation: as a writer of diagnoses, and as a chooser of options."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec

from lineside.config import BundleConfig, Config, EngineConfig
from lineside.errors import LinesideError
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.sensoriq import Question
from lineside.loading import load
from lineside.ports import Call, ChatMessage
from lineside.serving.request import Principal, TokenEvent
from lineside.serving.service import GenerationService
from lineside.writer import EngineWriter, writer_of

_DRAIN_S = 2.0
_MAX_TOKENS = 32
_PRINCIPAL = Principal("eval", "local")


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


class ModelChooser:
    """Implements sensoriq.Chooser: the letter that the model writes where only letters may stand."""

    def __init__(self, writer: EngineWriter, timeout_s: float) -> None:
        self._writer, self._timeout_s = writer, timeout_s

    async def choose(self, question: Question) -> int:
        """See sensoriq.Chooser."""
        letters = [chr(ord("A") + place) for place in range(len(question.options))]
        options = "\n".join(
            f"{letter}: {text}" for letter, text in zip(letters, question.options, strict=True)
        )
        prompt = f"{question.question}\n{options}\nAnswer with the letter alone, as a JSON string."
        call = Call(_PRINCIPAL, time.monotonic_ns() + int(self._timeout_s * 1e9))
        schema = json.dumps({"enum": letters})
        text = ""
        async for event in self._writer.write([ChatMessage("user", prompt)], schema, call, _MAX_TOKENS):
            if isinstance(event, TokenEvent):
                text += event.text
        try:
            return letters.index(msgspec.json.decode(text, type=str))
        except (msgspec.DecodeError, ValueError) as error:
            message = f"the model's answer to question {question.id} was cut off: {text!r}"
            raise EvaluationError("ask model", message, "allow more time with --timeout") from error


def _fail(error: Exception) -> None:
    raise LinesideError("run engine", repr(error), "see the log above")
