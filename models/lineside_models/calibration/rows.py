"""Which matrices of a model get one scale for each row, and their scales of channels. Knows no target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lineside.engine.bundle import WEIGHTS, Bundle
from lineside_models.calibration.choose import choose_channels
from lineside_models.calibration.prompts import bundled_prompts, prompt_windows
from lineside_models.calibration.record import CHUNK, record
from lineside_models.calibration.result import HEADS
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.safetensors_file import read_safetensors


def choose_rows(bundle: Bundle, advance: Callable[[int], None]) -> Equaliser:
    """Have the bundle's model read prompts. A matrix that would lose too much is not among the channels'.

    `advance` hears of each token read.
    """
    windows = prompt_windows(bundle, bundled_prompts(bundle.manifest.languages))
    store = WeightStore(read_safetensors(bundle.file(WEIGHTS)))
    seen = record(stored_architecture(bundle.manifest, store), store, windows, lambda _: advance(CHUNK))
    geometry = bundle.manifest.geometry
    chosen = {
        matrix: choose_channels(geometry, store, matrix, inputs)
        for matrix, inputs in seen.items()
        if matrix not in HEADS
    }
    channels = {matrix: scales.astype(np.float32) for matrix, scales in chosen.items() if scales is not None}
    return Equaliser(geometry, channels)
