"""What will be built, and why, before anything heavy starts. Knows no TensorRT: its offer is passed in.

Sizes are estimates: a plan is about 2.5 MB and 0.3 MB a layer beside its constants (measured, TensorRT for
RTX 1.7); a builder holds about four times its constants; a CUDA context takes some hundred MB. Which matrices
a calibration keeps in FP16 is known only once there is one: until then all count as quantised.
"""

from __future__ import annotations

import msgspec

from lineside.engine.bundle import Bundle, Geometry
from lineside.engine.device import Gpu
from lineside_models.calibration.result import Calibration
from lineside_models.errors import BuildError
from lineside_models.graph import Part, TrtShape, in_groups, layer_by_layer, whole
from lineside_models.trt.builder import Offer
from lineside_models.trt.devices import Capability, Verdict, capability_of, judge, judge_all, require

CHUNK_TOKENS, MIN_SEQ_LEN, MAX_BATCH = 128, 64, 64
LAYERS_PER_PART = 4
_PLAN_BYTES, _PLAN_BYTES_PER_LAYER = 2_500_000, 310_000
_BUILDER_BYTES, _BUILDER_COPIES = 400 << 20, 4
_CONTEXT_BYTES = 300 << 20
_BYTES = {"fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5625}  # int4: and a scale for a block of 32


class CompileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decides. `max_seq_len` 0: the bundle's; `device` empty: the one at hand."""

    precision: str = "auto"
    device: str = ""
    max_seq_len: int = 0
    max_batch: int = 8
    workspace_mb: int = 0
    level: int = -1
    verify: bool = True
    calibration: Calibration | None = None  # once it has been made


class Memory(msgspec.Struct, frozen=True):
    """Bytes. None: not known here."""

    host_available: int | None
    device: int | None


class Needs(msgspec.Struct, frozen=True):
    """Bytes that one precision's plans take."""

    plans: int
    shared_weights: int
    cache: int
    building: int

    @property
    def serving(self) -> int:
        """All of it, and CUDA's own."""
        return self.plans + self.shared_weights + self.cache + _CONTEXT_BYTES


class Decision(msgspec.Struct, frozen=True):
    """One compilation, decided."""

    capability: Capability
    gpu: Gpu | None
    offer: Offer
    verdicts: tuple[Verdict, ...]
    precision: str
    why: str
    lowering: str
    max_seq_len: int
    shapes: tuple[TrtShape, ...]
    parts: tuple[Part, ...]  # of each plan
    needs: Needs
    memory: Memory


def decide(
    bundle: Bundle, options: CompileOptions, offer: Offer, gpu: Gpu | None, memory: Memory
) -> Decision:
    """Choose device, precision, lowering and shapes. Raises BuildError where something asked cannot be."""
    capability = _capability(options.device, offer, gpu)
    here = gpu if gpu is not None and gpu.sm == capability.sm else None
    _check_sizes(bundle, options)
    memory = memory if here else Memory(memory.host_available, None)
    verdicts = judge_all(capability, offer.precisions, offer.title)
    if options.precision == "auto":
        precision, why = _choose(bundle, options, offer, verdicts, memory)
    else:
        asked = judge(options.precision, capability, offer.precisions, offer.title)
        precision, why = require(asked, verdicts), "as asked"
    if here is None:
        _check_target(capability, offer)
    return Decision(
        capability=capability,
        gpu=here,
        offer=offer,
        verdicts=verdicts,
        precision=precision,
        why=why,
        lowering="native" if offer.native else "plain",
        max_seq_len=options.max_seq_len or bundle.manifest.max_seq_len,
        shapes=shapes_of(bundle, options, shares_weights(precision)),
        parts=parts_of(bundle.manifest.geometry.layers, precision, offer),
        needs=needs_of(bundle, options, precision, offer),
        memory=memory,
    )


def check_memory(decision: Decision) -> None:
    """Raise BuildError where building or serving will not fit, with the numbers and what to lower."""
    hint = "lower --max-batch or --max-seq-len, take a smaller model, or compile on with --ignore-memory"
    needs, memory = decision.needs, decision.memory
    if memory.host_available is not None and needs.building > memory.host_available:
        message = (
            f"building needs about {gigabytes(needs.building)} of memory, {gigabytes(memory.host_available)}"
        )
        raise BuildError("compile", f"{message} are available", hint)
    if memory.device is not None and needs.serving > memory.device:
        message = (
            f"serving needs about {gigabytes(needs.serving)} of device memory, {gigabytes(memory.device)}"
        )
        raise BuildError("compile", f"{message} are there", hint)


def _capability(asked: str, offer: Offer, gpu: Gpu | None) -> Capability:
    """Of the device that was named, or of the one here."""
    if asked:
        return capability_of(asked.lower().removeprefix("sm").replace(".", ""))
    if gpu is not None:
        return capability_of(gpu.sm)
    hint = "run this on the device that will serve"
    if offer.targets:
        hint += f", or name one: --device sm{' or sm'.join(offer.targets)}"
    raise BuildError("compile", "the CUDA driver shows no GPU here", hint)


def _check_target(capability: Capability, offer: Offer) -> None:
    """Only TensorRT for RTX builds for a device that is not there, and not for every one."""
    if capability.sm in offer.targets:
        return
    targets = ", ".join(f"sm{target}" for target in offer.targets) or "the device at hand alone"
    message = f"{offer.title} does not build for {capability.title} on this machine"
    raise BuildError("compile", message, f"run this on that device; from here it builds for {targets}")


def _check_sizes(bundle: Bundle, options: CompileOptions) -> None:
    longest = bundle.manifest.max_seq_len
    if options.max_seq_len and not MIN_SEQ_LEN <= options.max_seq_len <= longest:
        message = f"--max-seq-len {options.max_seq_len} is outside {MIN_SEQ_LEN} to {longest}"
        raise BuildError(
            "compile", message, f"the bundle was built for {longest}; choose a length in that range"
        )
    if not 1 <= options.max_batch <= MAX_BATCH:
        message = f"--max-batch {options.max_batch} is outside 1 to {MAX_BATCH}"
        raise BuildError("compile", message, "choose how many sequences are to run at once")


def _choose(
    bundle: Bundle, options: CompileOptions, offer: Offer, verdicts: tuple[Verdict, ...], memory: Memory
) -> tuple[str, str]:
    """FP16 where it fits, else what takes least."""
    possible = [verdict.precision for verdict in verdicts if not verdict.problem]
    others = ", ".join(possible[1:])
    for precision in ("fp16", "int4", "int8"):
        if precision not in possible:
            continue
        need = needs_of(bundle, options, precision, offer).serving
        if memory.device is None or need <= memory.device:
            if precision == "fp16":
                reason = "exact to the bundle's weights, and fits"
                return precision, f"{reason}; possible too: {others}" if others else reason
            return precision, f"fp16 does not fit on this device; {precision} does"
    message = f"no precision fits into {gigabytes(memory.device or 0)} of device memory"
    raise BuildError(
        "choose precision", message, "lower --max-batch or --max-seq-len, or take a smaller model"
    )


def shares_weights(precision: str) -> bool:
    """Whether plans take their matrices as inputs, so that one copy on the device serves all of them."""
    return precision == "fp16"


def shapes_of(bundle: Bundle, options: CompileOptions, shared: bool) -> tuple[TrtShape, ...]:
    """Plans that share their weights: a step for each bucket. Others carry them: one step, one chunk."""
    length = options.max_seq_len or bundle.manifest.max_seq_len
    batches = [options.max_batch]
    if shared:
        batches = [batch for batch in (1, 2, 4, 8, 16, 32) if batch < options.max_batch] + batches
    return (
        *(TrtShape.step(batch, length) for batch in batches),
        TrtShape.chunk(min(CHUNK_TOKENS, length), length),
    )


def parts_of(layers: int, precision: str, offer: Offer) -> tuple[Part, ...]:
    """One part where networks have types.

    Without strong typing (8.6) the builder gives all inputs of a graph one type, which is float32 where there
    are many. Matrices and caches of one layer stay in FP16; of four they are turned into float32 at every
    step, 314 us a layer of a 1.5B model against 97 (measured, H100). Where matrices are constants, the caches
    of five layers are turned, those of four are not.
    """
    if offer.strongly_typed:
        return whole(layers)
    return layer_by_layer(layers) if shares_weights(precision) else in_groups(layers, LAYERS_PER_PART)


def recounted(bundle: Bundle, decision: Decision, options: CompileOptions) -> Decision:
    """The decision with its needs as the calibration in `options` makes them."""
    needs = needs_of(bundle, options, decision.precision, decision.offer)
    return msgspec.structs.replace(decision, needs=needs)


def needs_of(bundle: Bundle, options: CompileOptions, precision: str, offer: Offer) -> Needs:
    """See Needs; the cache is for --max-batch sequences. Embedding and head stay in FP16 always."""
    manifest, geometry = bundle.manifest, bundle.manifest.geometry
    tables = geometry.vocab_size * geometry.hidden * (1 if geometry.tied_head else 2)
    in_fp16 = tables + _kept_in_fp16(geometry, options.calibration)
    weights = round((manifest.parameters - in_fp16) * _bytes(precision, offer)) + 2 * in_fp16
    together = shares_weights(precision)
    parts = parts_of(geometry.layers, precision, offer)
    shared = weights if together else 2 * tables * (len(parts) > 1)
    constants = weights - shared
    layers = sum(len(part.layers) for part in parts)
    one = constants + len(parts) * _PLAN_BYTES + layers * _PLAN_BYTES_PER_LAYER
    length = options.max_seq_len or manifest.max_seq_len
    position = 2 * 2 * geometry.layers * geometry.kv_heads * geometry.head_dim
    return Needs(
        plans=one * len(shapes_of(bundle, options, together)),
        shared_weights=shared,
        cache=options.max_batch * length * position,
        building=_BUILDER_BYTES + _BUILDER_COPIES * constants + shared,
    )


def _bytes(precision: str, offer: Offer) -> float:
    """Of a value in a plan. Without strong typing (8.6) one in INT8 takes nearly 16 bits (measured, H100)."""
    return 2.0 if precision == "int8" and not offer.strongly_typed else _BYTES[precision]


def _kept_in_fp16(geometry: Geometry, calibration: Calibration | None) -> int:
    """Values of the layers' matrices that a calibration has no point for."""
    if calibration is None:
        return 0
    g, heads = geometry, geometry.heads * geometry.head_dim
    sizes = {
        "qkv": (heads + 2 * g.kv_heads * g.head_dim) * g.hidden,
        "o_proj": heads * g.hidden,
        "gate_up": 2 * g.intermediate * g.hidden,
        "down_proj": g.intermediate * g.hidden,
    }
    return sum(
        size
        for layer in range(g.layers)
        for name, size in sizes.items()
        if f"layers.{layer}.{name}" not in calibration.points
    )


def gigabytes(size: int) -> str:
    """For people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
