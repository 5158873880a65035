"""Lineside as a worker: a bundle behind its own scheduler, sampler and grammar, or its bare engine.

`python -m benchmarks.workers.ours BUNDLE THREADS SLOTS`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import anyio
import anyio.from_thread
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from benchmarks.workers.protocol import serve
from lineside.config import BundleConfig, Config, DiagnosisConfig, EngineConfig
from lineside.engine.base import Engine, Extension
from lineside.engine.bundle import TOKENIZER
from lineside.engine.pages import join
from lineside.loading import Loaded, load
from lineside.ports import Call, GenerateJob
from lineside.serving.request import EndEvent, FinishReason, Principal, Sampling, TokenEvent
from lineside.serving.service import GenerationService
from lineside_models.ort_runner import OrtRunner

HOUR_NS = 3_600_000_000_000
# As many as a benchmark may ask for; they take memory once they are written.
KEPT_ENTRIES = 64


class Ours:
    """A loaded bundle. The service owns the engine until it is drained; then the bare one may be measured."""

    def __init__(self, loaded: Loaded, engine: Engine, ask: Callable[..., Any]) -> None:
        self.loaded, self.engine, self._ask = loaded, engine, ask
        self._tokenizer = Tokenizer.from_file(str(loaded.bundle.file(TOKENIZER)))
        self._service: GenerationService | None = None

    def run(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """A prompt, then greedy tokens."""
        job = self._job(self._tokenizer.decode(ids, skip_special_tokens=False), tokens + 1)
        _, end = self._ask(self._generated, job)
        if (end.usage.prompt_tokens, end.usage.completion_tokens) != (len(ids), tokens + 1):
            raise ValueError(f"{end.usage}: the prompt is tokenised otherwise, or the model ended early")
        timings = end.timings
        decode_s = (timings.total_ms - timings.first_token_ms) / 1e3
        return {"prefill_s": (timings.first_token_ms - timings.queue_ms) / 1e3, "decode_s": decode_s}

    def guided(self, prompt: str, json_schema: str, tokens: int) -> dict[str, Any]:
        """The answer that a schema allows."""
        begun_s = time.perf_counter()
        text, end = self._ask(self._generated, self._job(prompt, tokens, json_schema))
        answer_s = time.perf_counter() - begun_s
        usage = end.usage
        return {
            "answer_s": answer_s,
            "first_s": end.timings.first_token_ms / 1e3,
            "steps": usage.completion_tokens - usage.forced_tokens,
            "completion_tokens": usage.completion_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "text": text,
        }

    def ahead(self, one: str, other: str) -> dict[str, Any]:
        """Read what both prompts begin with, and keep it."""
        return {"tokens": self._ask(self._read_ahead, self._job(one, 1), self._job(other, 1))}

    def steps(self, sequences: int, length: int, steps: int) -> dict[str, Any]:
        """The bare engine: a prompt in each of some slots, then steps of one token each, picked greedily."""
        self._ask(self._drained)
        chunk = self.engine.capabilities.max_chunk_tokens
        begun_s = time.perf_counter()
        for slot in range(sequences):
            for past in range(0, length, chunk):
                part = [1] * min(chunk, length - past)
                self.engine.forward([Extension(slot, past, part, (len(part) - 1,))])
        prefill_s = (time.perf_counter() - begun_s) / sequences
        times = []
        for step in range(steps):
            batch = [Extension(slot, length + step, (1,), (0,)) for slot in range(sequences)]
            begun_s = time.perf_counter()
            self.engine.forward(batch)
            times.append(time.perf_counter() - begun_s)
        return {"prefill_s": prefill_s, "step_s": float(np.median(times)), "steps_s": times}

    def loss(self, windows: list[list[int]]) -> dict[str, Any]:
        """Sum of negative log probabilities of every token of each window but its first."""
        runner = OrtRunner(self.loaded.bundle.path, 2)
        total, count = 0.0, 0
        for ids in windows:
            for past in range(0, len(ids) - 1, runner.chunk):
                part = ids[past : past + runner.chunk]
                following = ids[past + 1 : past + 1 + len(part)]
                logits = runner.logits(part, past)[: len(following)].astype(np.float64)
                top = logits.max(axis=-1)
                normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
                total += float((normaliser - logits[np.arange(len(following)), following]).sum())
                count += len(following)
        return {"loss": total, "count": count}

    def _job(self, prompt: str, tokens: int, json_schema: str | None = None) -> GenerateJob:
        call = Call(Principal("bench", "bench"), time.monotonic_ns() + HOUR_NS)
        return GenerateJob(call, prompt, sampling=Sampling(max_tokens=tokens), json_schema=json_schema)

    async def _generated(self, job: GenerateJob) -> tuple[str, EndEvent]:
        return await whole(self._serving().generate(job))

    async def _read_ahead(self, one: GenerateJob, other: GenerateJob) -> int:
        tokens = await self._serving().beginning(one, other)
        await self._serving().read_ahead(tokens, one.call)
        return len(tokens)

    def _serving(self) -> GenerationService:
        if self._service is None:
            text = (self.loaded.tokenizer, self.loaded.grammars)
            self._service = GenerationService(self.engine, *text, max_waiting=8, on_failure=print)
        return self._service

    async def _drained(self) -> None:
        if self._service is not None:
            await self._service.drain(5)
            self._service = None


async def whole(events: AsyncIterator[Any]) -> tuple[str, EndEvent]:
    """All of an answer's text, and its end. Raises ValueError where it was ended early."""
    text = ""
    async for event in events:
        if isinstance(event, TokenEvent):
            text += event.text
        elif isinstance(event, EndEvent):
            if event.finish is FinishReason.ABORTED:
                raise ValueError(event.message)
            return text, event
    raise AssertionError("every generation ends")


async def work(bundle: str, threads: int, slots: int) -> None:
    """Load, then answer commands on a thread beside the event loop."""
    engine = EngineConfig("onnxruntime", slots, threads, kept_entries=KEPT_ENTRIES)
    config = Config(bundle=BundleConfig(bundle), engine=engine, diagnosis=DiagnosisConfig("model"))
    loaded = await anyio.to_thread.run_sync(load, config)
    assert loaded.choice.engine is not None
    await anyio.to_thread.run_sync(join)  # as the daemon does once it serves
    ours = Ours(loaded, loaded.choice.engine, anyio.from_thread.run)
    names = ("run", "guided", "ahead", "steps", "loss")
    handlers = {name: getattr(ours, name) for name in names}
    told = {"version": onnxruntime.__version__, "precision": loaded.bundle.manifest.precision}
    await anyio.to_thread.run_sync(functools.partial(serve, handlers, **told))


if __name__ == "__main__":
    anyio.run(work, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
