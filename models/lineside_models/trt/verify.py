"""Whether plans compute what the bundle's own graph does: run beside it, in a process of its own.

A plan that builds may still be wrong: norms that overflow give logits of zero. Knows no terminal.
The child: `python -m lineside_models.trt.verify BUNDLE SM`; its last line of output is the Agreement.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from lineside.engine.base import Engine, Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine
from lineside.engine.tensorrt import TensorRtEngine
from lineside.serving.tokenizer import Tokenizer
from lineside_models.errors import BuildError
from lineside_models.perplexity import calibration_text

# The graph on the CPU rounds in its own way: measured, FP16 plans differ from it by 0.01, INT8 plans by 0.14,
# and plans that are wrong by 1.
LARGEST_ERROR = 0.35
_PROMPT_TOKENS, _STEPS = 48, 4
_TOLD_CHARACTERS = 1500


class Agreement(msgspec.Struct, frozen=True):
    """Largest difference of a row of logits, relative to its norm, and the device that ran the plans.

    No `error`: some logits are no numbers.
    """

    error: float | None
    device: str


def verify(directory: Path, sm: str) -> Agreement:
    """Run the plans for `sm` in a child. Raises BuildError where they fail or compute something else."""
    command = [sys.executable, "-m", "lineside_models.trt.verify", str(directory), sm]
    ended = subprocess.run(command, capture_output=True, check=False)
    hint = "try another --precision, or a lower --opt-level; --no-verify keeps such plans, at your own risk"
    try:
        found = msgspec.json.decode(ended.stdout.strip().rpartition(b"\n")[2], type=Agreement)
    except msgspec.DecodeError:
        told = ended.stderr.decode("utf-8", "replace").strip()[-_TOLD_CHARACTERS:]
        raise BuildError("verify plans", f"they did not run: {told}", hint) from None
    if found.error is None:
        raise BuildError("verify plans", "some of their logits are no numbers", hint)
    if found.error > LARGEST_ERROR:
        message = f"their logits differ from ONNX Runtime's by {found.error:.2f} of their size"
        raise BuildError("verify plans", message, hint)
    return found


def difference(engine: Engine, reference: Engine, tokens: list[int]) -> float | None:
    """Both run a prompt as a chunk and go on one token at a time, in the first and the last slot.

    The Agreement's error.
    """
    last = min(engine.capabilities.slots, reference.capabilities.slots) - 1
    worst = 0.0
    for slot in {0, last}:
        prompt = tokens[:-_STEPS]
        calls = [Extension(slot, 0, prompt, (len(prompt) - 1,))]
        calls += [
            Extension(slot, len(prompt) + step, [token], (0,)) for step, token in enumerate(tokens[-_STEPS:])
        ]
        for call in calls:
            ((found,),), ((wanted,),) = engine.forward([call]), reference.forward([call])
            row, exact = np.array(found, np.float32), np.array(wanted, np.float32)
            error = float(np.linalg.norm(row - exact) / np.linalg.norm(exact))
            if not np.isfinite(error):
                return None
            worst = max(worst, error)
    return worst


def main() -> None:
    """The child."""
    bundle = open_bundle(Path(sys.argv[1]))
    slots = max(plan.batch for plan in bundle.manifest.plan if plan.sm == sys.argv[2])
    text = calibration_text("en").read_text("utf-8")
    tokens = Tokenizer(bundle).encode(text)[:_PROMPT_TOKENS]
    engine = TensorRtEngine(bundle, slots=slots, max_chunk_tokens=_PROMPT_TOKENS)
    reference = OnnxRuntimeEngine(bundle, slots=slots, threads=0, max_chunk_tokens=_PROMPT_TOKENS)
    found = Agreement(difference(engine, reference, tokens), engine.capabilities.device)
    engine.close()
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
