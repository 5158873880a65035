"""Which matrices of a model get one scale for each row, and their scales of channels. Knows no target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lineside.engine.bundle import WEIGHTS, Bundle
from lineside_models.calibration.choose import choose_row_scales
from lineside_models.calibration.prompts import bundled_prompts, prompt_windows
from lineside_models.calibration.record import CHUNK, record
from lineside_models.errors import BuildError, RoomError
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.safetensors_file import read_safetensors


def choose_rows(bundle: Bundle, prompts: Path | None, advance: Callable[[float], None]) -> Equaliser:
    """Have the bundle's model read prompts. A matrix that would lose too much is not among the channels'.

    `prompts`: a text file, else those that come with the build step. `advance` hears of each share of them.
    """
    windows = prompt_windows(bundle, [prompts] if prompts else bundled_prompts(bundle.manifest.languages))
    store = WeightStore(read_safetensors(bundle.file(WEIGHTS)))
    share = CHUNK / sum(map(len, windows))
    architecture = stored_architecture(bundle.manifest, store)
    try:
        seen = record(architecture, store, windows, lambda _: advance(share), tokens=True)
    except BuildError as error:  # it is read in FP16, which not every model can be, nor every machine
        hint = "build it with weights in blocks: --weights int8"
        if isinstance(error, RoomError):
            hint = f"{error.hint}, or {hint}"
        raise BuildError("calibrate", error.message, hint) from error
    geometry = bundle.manifest.geometry
    found = {matrix: choose_row_scales(geometry, store, matrix, inputs) for matrix, inputs in seen.items()}
    by_row = {matrix: scales for matrix, scales in found.items() if scales is not None}
    return Equaliser(
        geometry,
        {matrix: scales.channels for matrix, scales in by_row.items()},
        {matrix: scales.apart for matrix, scales in by_row.items() if len(scales.apart)},
    )
