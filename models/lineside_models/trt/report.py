"""A decision for people: what --dry-run prints. Knows nothing of how it was taken."""

from __future__ import annotations

from lineside.engine.bundle import Manifest
from lineside_models.trt.decide import Decision, gigabytes


def describe(decision: Decision, manifest: Manifest) -> str:
    """Lines of a name and its value."""
    lines = [
        ("bundle", f"{manifest.name}, {manifest.parameters / 1e6:,.0f} M parameters"),
        ("device", _device(decision)),
        ("builder", _builder(decision)),
        ("precision", f"{decision.precision}: {decision.why}"),
        *((f"  {v.precision}", v.problem or "possible") for v in decision.verdicts),
        ("plans", _plans(decision)),
        ("plan files", f"about {gigabytes(decision.needs.plans)}"),
        ("building", _against(decision.needs.building, decision.memory.host_available, "available here")),
        ("serving", _against(decision.needs.serving, decision.memory.device, "on the device")),
        ("  of which", _parts(decision)),
    ]
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


def _device(decision: Decision) -> str:
    if decision.gpu is None:
        return f"compute capability {decision.capability.title}, not the one here"
    return f"{decision.gpu.identity}, compute capability {decision.capability.title}"


def _builder(decision: Decision) -> str:
    typed = "strongly typed" if decision.offer.strongly_typed else "weakly typed with precision flags"
    if decision.lowering == "native":
        return f"{decision.offer.title}: {typed}, native lowering (it has attention and cache layers)"
    return f"{decision.offer.title}: {typed}, plain lowering (it has no attention and cache layers)"


def _plans(decision: Decision) -> str:
    steps = ", ".join(str(shape.batch) for shape in decision.shapes if shape.role == "step")
    chunks = ", ".join(str(shape.tokens) for shape in decision.shapes if shape.role == "chunk")
    parts = f", {len(decision.parts)} parts each" if len(decision.parts) > 1 else ""
    longest = f"{decision.max_seq_len} tokens at most"
    return f"steps of {steps} sequences, chunks of {chunks} tokens{parts}, {longest}"


def _parts(decision: Decision) -> str:
    needs = decision.needs
    return (
        f"shared weights {gigabytes(needs.shared_weights)}, plans {gigabytes(needs.plans)},"
        f" cache {gigabytes(needs.cache)}, the rest CUDA's own"
    )


def _against(need: int, there: int | None, where: str) -> str:
    about = f"about {gigabytes(need)} of memory"
    if there is None:
        return f"{about}; how much there is on the device is not known here"
    fits = "" if need <= there else ": TOO LITTLE"
    return f"{about}; {gigabytes(there)} {where}{fits}"
