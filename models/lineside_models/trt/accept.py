"""Whether a precision leaves the model good enough to be compiled. Knows no terminal and no TensorRT."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lineside_models.errors import BuildError
from lineside_models.perplexity import Perplexity, calibration_text


class Cost(msgspec.Struct, frozen=True):
    """One text's perplexity in FP16 and in the precision."""

    exact: Perplexity
    rounded: Perplexity

    @property
    def ratio(self) -> float:
        """Times FP16's."""
        return self.rounded.perplexity / self.exact.perplexity


def texts_for(languages: Sequence[str]) -> list[str]:
    """The languages whose text comes with the build step; English where there is none."""
    return [language for language in languages if calibration_text(language).is_file()] or ["en"]


def check_cost(precision: str, costs: Sequence[Cost], limit: float, chosen: str = "") -> None:
    """Raise BuildError where a text's perplexity is over `limit` times FP16's.

    `chosen`: why `auto` took this precision; empty where the operator did.
    """
    worst = max(costs, key=lambda cost: cost.ratio)
    if worst.ratio <= limit:
        return
    message = f"{precision} raises perplexity over {worst.rounded.text} to {worst.ratio:.2f} of fp16's"
    hint = "choose another --precision, or accept it with a higher --perplexity-limit"
    if chosen:
        message = f"auto chose {precision} ({chosen}), but {message}"
        hint = f"lower --max-batch or --max-seq-len until fp16 fits, {hint}"
    raise BuildError("calibrate", f"{message}, over {limit:g}", hint)
