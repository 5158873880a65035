"""onnxruntime-genai as a peer. Runs in the peer's environment: `genai.py DIRECTORY LENGTH`."""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

import numpy as np
import onnxruntime_genai as og
from protocol import serve


class Genai:
    """One model, a new generator each time, as its users have it."""

    def __init__(self, directory: str, length: int) -> None:
        self.model, self.length = og.Model(directory), length

    def generator(self) -> Any:
        """Greedy, with an empty cache."""
        parameters = og.GeneratorParams(self.model)
        parameters.set_search_options(do_sample=False, max_length=self.length, min_length=self.length)
        return og.Generator(self.model, parameters)

    def run(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """A prompt, then greedy tokens."""
        generator = self.generator()
        begun_s = time.perf_counter()
        generator.append_tokens(np.array(ids, np.int32))
        generator.generate_next_token()
        prefilled_s = time.perf_counter()
        for _ in range(tokens):
            generator.generate_next_token()
        ended_s = time.perf_counter()
        picked = [int(token) for token in generator.get_sequence(0)][len(ids) :]
        return {"prefill_s": prefilled_s - begun_s, "decode_s": ended_s - prefilled_s, "tokens": picked}

    def loss(self, windows: list[list[int]]) -> dict[str, Any]:
        """Sum of negative log probabilities of every token of each window but its first, token by token."""
        total, count = 0.0, 0
        for ids in windows:
            generator = self.generator()
            for token, following in itertools.pairwise(ids):
                generator.append_tokens(np.array([token], np.int32))
                logits = np.asarray(generator.get_logits()).reshape(-1).astype(np.float64)
                top = logits.max()
                total += float(top + np.log(np.exp(logits - top).sum()) - logits[following])
                count += 1
        return {"loss": total, "count": count}


def main() -> None:
    """See the module."""
    genai = Genai(sys.argv[1], int(sys.argv[2]))
    serve({"run": genai.run, "loss": genai.loss}, version=og.__version__)


if __name__ == "__main__":
    main()
