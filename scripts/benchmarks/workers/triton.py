"""nvidia-pytriton as a peer: a real Triton server with an echo. Runs in the peer's environment.

`triton.py GRPC_PORT HTTP_PORT METRICS_PORT` serves until standard input ends.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import numpy as np
from protocol import claim_output, serve
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch  # type: ignore[untyped-decorator]  # pytriton lives in an environment of its own
def echo(text_input: Any) -> dict[str, Any]:
    """What came in."""
    return {"text_output": text_input}


def main() -> None:
    """Serve until standard input ends."""
    answers = claim_output()  # the server writes to the standard output that it begins with
    grpc, http, metrics = map(int, sys.argv[1:4])
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        http_address="127.0.0.1",
        http_port=http,
        metrics_port=metrics,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="echo",
            infer_func=echo,
            inputs=[Tensor(name="text_input", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="text_output", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=8),
        )
        triton.run()
        serve({}, answers, version=importlib.metadata.version("nvidia-pytriton"), numpy=np.__version__)


if __name__ == "__main__":
    main()
