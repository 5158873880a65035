"""From the configuration to a warm engine, tokenizer and grammars. Takes seconds; not for the event loop."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import msgspec

from lineside.config import Config, EngineConfig
from lineside.diagnosis.knowledge.calibration_file import read_calibration
from lineside.diagnosis.knowledge.fusion import Calibration
from lineside.embedder import OnnxEmbedder
from lineside.engine.bundle import EMBEDDER_FILES, MANIFEST, Bundle, BundleError, read_manifest, verify
from lineside.engine.choose import RULES, Choice, choose, warmed_up
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What serving needs of a bundle."""

    bundle: Bundle
    choice: Choice
    tokenizer: Tokenizer
    grammars: GrammarCompiler


class Loading:
    """A bundle that is being verified and loaded, side by side, from now on.

    At its end it closes what nobody has taken by `finish`.
    """

    def __init__(self, config: Config) -> None:
        self._begun_s = time.monotonic()
        self._engine = _engine_of(config)
        self._trouble: BundleError | None = None
        try:
            self._bundle = bundle = Bundle(config.bundle_path, read_manifest(config.bundle_path))
        except BundleError as error:
            # Told by `finish`: before it a mistake in the configuration itself is found.
            self._trouble = error
            return
        self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="loading")
        # The tokenizer's library keeps Python to itself while it reads its file: what hardly needs Python,
        # and takes longest, has to have begun by then.
        self._choice = self._pool.submit(choose, bundle, self._engine)
        self._verified = self._pool.submit(verify, bundle)
        self._text = self._pool.submit(_load_text, bundle)
        self._taken = False

    def finish(self) -> Loaded:
        """Wait for it; then measure the engine, for which the machine has to be quiet. Once.

        Raises BundleError where there is no bundle, or a damaged one.
        """
        if self._trouble:
            raise self._trouble
        with self._pool:
            # What is wrong with a file is the cause of whatever else fails: it is told first.
            self._verified.result()
            tokenizer, grammars = self._text.result()
            opened = self._choice.result()
        self._taken = True
        chosen = warmed_up(self._bundle, self._engine, opened)
        _tell(self._bundle, chosen, time.monotonic() - self._begun_s)
        return Loaded(self._bundle, chosen, tokenizer, grammars)

    def __enter__(self) -> Loading:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._trouble:
            return
        self._pool.shutdown()
        if not self._taken and self._choice.exception() is None and (engine := self._choice.result().engine):
            engine.close()


def wants_model(config: Config) -> bool:
    """Whether anything is to be loaded: diagnoses and clients can do without."""
    return RULES not in (config.diagnosis.mode, config.engine.name)


def _engine_of(config: Config) -> EngineConfig:
    """[engine], without what would be kept of manuals for a model that is never asked about them."""
    if config.diagnosis.by == "model":
        return config.engine
    return msgspec.structs.replace(config.engine, kept_entries=0)


def load(config: Config) -> Loaded:
    """All at once, for whoever has nothing to do meanwhile."""
    with Loading(config) as loading:
        return loading.finish()


def _tell(bundle: Bundle, choice: Choice, seconds: float) -> None:
    """Log what serves, and why."""
    if choice.trouble:
        log.warning("degraded: %s", choice.trouble)
    if choice.engine is None:
        log.info("no engine: the rules answer alone", extra={"reason": choice.reason})
        return
    capabilities = choice.engine.capabilities
    fields = {
        "model": bundle.manifest.name,
        "precision": bundle.manifest.precision,
        "engine": capabilities.name,
        "reason": choice.reason,
        "device": capabilities.device,
        "slots": capabilities.slots,
        "kept_prefixes": capabilities.kept_slots - capabilities.lasting_slots,
        "kept_entries": capabilities.lasting_slots,
        "cache_mb": capabilities.cache_bytes >> 20,
        "step_ms": round(capabilities.costs.step(1) / 1e6, 2),
        "seconds": round(seconds, 2),
    }
    log.info("engine ready", extra=fields)


def load_embedder(config: Config) -> OnnxEmbedder | None:
    """The bundle's embedder; None where it has none, where there is no bundle or where it is not wanted.

    What `load` has verified already is verified again: it takes a tenth of a second.
    """
    path = config.bundle_path
    if config.knowledge.vectors == "off" or not (path / MANIFEST).is_file():
        return None
    bundle = Bundle(path, read_manifest(path))
    if bundle.manifest.embedder is None:
        return None
    begun_s = time.monotonic()
    verify(bundle, *EMBEDDER_FILES)
    embedder = OnnxEmbedder(bundle)
    seconds = round(time.monotonic() - begun_s, 2)
    log.info("embedder ready", extra={"model": bundle.manifest.embedder.name, "seconds": seconds})
    return embedder


def load_calibration(config: Config, embedder: str) -> Calibration | None:
    """The plant's own; None where it has none. Raises CalibrationError where it cannot be used."""
    path = config.calibration_path
    if path is None:
        return None
    calibration = read_calibration(path, embedder)
    fields = {name: str(value) for name, value in calibration.origin.items()}
    log.info("calibration read", extra={"file": str(path), **fields})
    return calibration


def _load_text(bundle: Bundle) -> tuple[Tokenizer, GrammarCompiler]:
    tokenizer = Tokenizer(bundle)
    manifest = bundle.manifest
    return tokenizer, GrammarCompiler(tokenizer, manifest.geometry.vocab_size, manifest.tokens.eos)
