"""Calibration of a bundle for one precision, end to end. Knows no terminal and no TensorRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lineside.engine.bundle import WEIGHTS, Bundle
from lineside_models.calibration.choose import choose_point
from lineside_models.calibration.prompts import bundled_prompts, prompt_windows
from lineside_models.calibration.record import CHUNK, Seen, record
from lineside_models.calibration.result import HEADS, Calibration, Quantisation
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.safetensors_file import read_safetensors

_PRODUCTS_PER_LAYER = 4


class Calibrator:
    """A bundle and the prompts that it is to read: the bundled ones, or those of `prompts`."""

    def __init__(self, bundle: Bundle, prompts: Path | None = None) -> None:
        self._bundle = bundle
        self._files: Sequence[Path] = [prompts] if prompts else bundled_prompts(bundle.manifest.languages)
        self._windows = prompt_windows(bundle, self._files)
        chunks = sum(map(len, self._windows)) // CHUNK
        self.work = chunks + _PRODUCTS_PER_LAYER * bundle.manifest.geometry.layers + 1
        self._seen: dict[str, Seen] = {}

    def run(
        self, precision: Quantisation, advance: Callable[[int], None] = lambda _: None, *, head: bool = False
    ) -> Calibration:
        """Read the prompts, the first time, and choose the scales.

        `head`: the vocabulary's matrix is quantised, too. `advance` hears of amounts that make `work` in all.
        """
        store = WeightStore(read_safetensors(self._bundle.file(WEIGHTS)))
        architecture = stored_architecture(self._bundle.manifest, store)
        self._seen = self._seen or record(architecture, store, self._windows, advance)
        points = {}
        for matrix, seen in self._seen.items():
            point = None
            if head or matrix not in HEADS:
                point = choose_point(architecture.geometry, store, matrix, seen, precision)
            if point:
                points[matrix] = point
            advance(1)
        return Calibration(
            precision=precision,
            weights_sha256=self._bundle.manifest.files[WEIGHTS].sha256,
            texts=tuple(file.name for file in self._files),
            tokens=sum(map(len, self._windows)),
            points=points,
        )
