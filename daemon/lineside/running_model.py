"""The bundle's model while it is served, and what is told of it. Knows no transport."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.engine.base import Engine
from lineside.loading import Loaded
from lineside.ports import EngineFacts, ModelFacts
from lineside.serving.service import GenerationService


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model that is being served."""

    loaded: Loaded
    engine: Engine
    service: GenerationService

    def facts(self) -> ModelFacts:
        """What the bundle says of itself."""
        manifest = self.loaded.bundle.manifest
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

    def engine_facts(self) -> EngineFacts:
        """What runs it, how fast, and what waits for it."""
        manifest, capabilities = self.loaded.bundle.manifest, self.engine.capabilities
        costs = capabilities.costs
        running = min(self.service.live, capabilities.slots)
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
            waiting=self.service.live - running,
            step_ms=costs.step(1) / 1e6,
            prefill_tokens_per_s=capabilities.max_chunk_tokens
            * 1e9
            / costs.chunk(capabilities.max_chunk_tokens),
        )
