"""What a run was asked for, and the peers' environments that it needs. Knows no benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import Model
from benchmarks.peers import environment

LLAMA_VERSION, GENAI_VERSION, TRITON_VERSION = "0.3.36", "0.18.0", "0.7.0"
WHEEL_VARIABLE = "LINESIDE_LLAMA_WHEEL"
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds` 0: as many as a benchmark takes by itself. `llama_wheel` empty: PyPI's source."""

    models: Sequence[Model]
    bundles: Mapping[str, Path]
    threads: int
    rounds: int
    llama_wheel: str = ""

    def llama_python(self) -> Path:
        """llama.cpp's environment."""
        wheel = self.llama_wheel or os.environ.get(WHEEL_VARIABLE, "")
        return environment("llama.cpp", [wheel or f"llama-cpp-python=={LLAMA_VERSION}"])

    def genai_python(self) -> Path:
        """onnxruntime-genai's environment."""
        return environment("onnxruntime-genai", [f"onnxruntime-genai=={GENAI_VERSION}"])

    def triton_python(self) -> Path:
        """nvidia-pytriton's environment, of the system's own Python: its server loads the system's libpython,

        which must be of the release that the environment's standard library is of. Its wheels are for x86-64.
        """
        if platform.machine() != "x86_64":
            raise SystemExit("bench: nvidia-pytriton has no wheels for this processor")
        return environment("nvidia-pytriton", [f"nvidia-pytriton=={TRITON_VERSION}"], SYSTEM_PYTHON)
