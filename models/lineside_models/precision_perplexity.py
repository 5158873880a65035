"""Perplexity of a precision before it is compiled: the graph that TensorRT gets, run on the CPU.

Knows no device. The graph is lowered into a temporary directory, with its matrices as constants.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from lineside.engine.bundle import WEIGHTS, Bundle
from lineside_models.calibration.plain_runner import PlainRunner
from lineside_models.calibration.result import Calibration
from lineside_models.graph import Precision, TrtShape, lower_trt_plain
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.perplexity import Perplexity, perplexity_of
from lineside_models.safetensors_file import read_safetensors

_CHUNK = 128


def precision_perplexity(
    bundle: Bundle,
    precision: Precision,
    calibration: Calibration | None,
    text: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> Perplexity:
    """What the plain graph in `precision` makes of the text. `advance` hears of the tokens read."""
    store = WeightStore(read_safetensors(bundle.file(WEIGHTS)))
    architecture = stored_architecture(bundle.manifest, store)
    chunk = min(_CHUNK, bundle.manifest.max_seq_len)
    shape = TrtShape.chunk(chunk, bundle.manifest.max_seq_len, rows=chunk)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "chunk.onnx"
        lower_trt_plain(
            architecture,
            store,
            shape,
            precision,
            path,
            weights="constants",
            strongly_typed=True,
            calibration=calibration,
        )
        return perplexity_of(bundle, PlainRunner(path), text, advance)
