"""What each compute capability can multiply. Knows no TensorRT and no model.

NVIDIA's tables: FP8 from 8.9 (Ada), FP4 from 10.0 (Blackwell), INT8 tensor cores from 7.2, weights in INT4
from 7.5. Orin (8.7) has neither FP8 nor FP4.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from lineside_models.errors import BuildError

PRECISIONS = ("fp16", "fp8", "int8", "int4")
_LEAST_SM = {"fp16": 70, "fp8": 89, "int8": 72, "int4": 75, "fp4": 100}
_NAMES = {
    "72": "Jetson Xavier",
    "75": "Turing",
    "80": "A100, A30",
    "86": "RTX 30, RTX A series",
    "87": "Jetson Orin",
    "89": "RTX 40, L4, L40",
    "90": "H100, H200",
    "100": "B200",
    "103": "B300",
    "110": "Jetson Thor",
    "120": "RTX 50, RTX PRO Blackwell",
    "121": "DGX Spark",
}


class Capability(msgspec.Struct, frozen=True):
    """A compute capability: `sm` without its dot, and who has it."""

    sm: str
    devices: str
    precisions: tuple[str, ...]

    @property
    def title(self) -> str:
        """For people: 8.7 (Jetson Orin)."""
        return f"{self.sm[:-1]}.{self.sm[-1]} ({self.devices})"


def capability_of(sm: str) -> Capability:
    """The row of a compute capability, also of one that came after this table. Raises BuildError."""
    if not sm.isascii() or not sm.isdigit() or not 2 <= len(sm) <= 3:
        message = f"{sm!r} is no compute capability"
        raise BuildError("choose precision", message, "write it as in sm87, sm89 or sm120")
    if int(sm) < _LEAST_SM["fp16"]:
        message = f"compute capability {sm[:-1]}.{sm[-1]} is too old: it has no FP16 tensor cores"
        raise BuildError("choose precision", message, "serve through ONNX Runtime")
    known = tuple(name for name, least in _LEAST_SM.items() if int(sm) >= least)
    return Capability(sm, _NAMES.get(sm, "not in this version's table"), known)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a precision can be built, and if not, why."""

    precision: str
    problem: str = ""


def judge(precision: str, capability: Capability, offered: tuple[str, ...], builder: str) -> Verdict:
    """One precision on one device with one builder that offers the precisions `offered`."""
    if precision not in capability.precisions:
        least = str(_LEAST_SM[precision])
        have = f"compute capability {capability.title} has no {precision.upper()}"
        return Verdict(precision, f"{have}: it starts at {least[:-1]}.{least[-1]}")
    if precision not in PRECISIONS:
        return Verdict(precision, f"this version of lineside builds no {precision.upper()} plans")
    if precision not in offered:
        return Verdict(precision, f"{builder} cannot build {precision.upper()} networks")
    return Verdict(precision)


def judge_all(capability: Capability, offered: tuple[str, ...], builder: str) -> tuple[Verdict, ...]:
    """Every precision, best quality first."""
    return tuple(judge(precision, capability, offered, builder) for precision in PRECISIONS)


def require(asked: Verdict, verdicts: tuple[Verdict, ...]) -> str:
    """The precision that was asked for. Raises BuildError with the reason and the alternatives."""
    if not asked.problem:
        return asked.precision
    alternatives = [v.precision for v in verdicts if not v.problem]
    hint = f"choose --precision {', '.join(alternatives)} or auto" if alternatives else "use another TensorRT"
    raise BuildError("choose precision", asked.problem, hint)
