"""What is chosen for which device, and why; what is refused before anything heavy starts."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.tiny import tiny_bundle

from lineside.engine.bundle import Bundle, Geometry
from lineside.engine.device import Gpu
from lineside_models.calibration.result import Calibration, Point
from lineside_models.errors import BuildError
from lineside_models.graph import whole
from lineside_models.trt.builder import Offer
from lineside_models.trt.decide import CompileOptions, Decision, Memory, check_memory, decide, recounted
from lineside_models.trt.devices import capability_of
from lineside_models.trt.report import describe

ORIN = Gpu("Orin", "87", 8, 8 << 30, True)
THOR = Gpu("Thor", "110", 20, 128 << 30, True)
ADA = Gpu("NVIDIA L4", "89", 58, 24 << 30, False)
NEW = Offer("tensorrt", "10.16.2", True, True, ("fp16", "int8", "fp8", "int4"), ())
RTX = Offer("tensorrt_rtx", "1.7.1", True, True, ("fp16", "int8", "fp8", "int4"), ("86", "89"))
OLD = Offer("tensorrt", "8.6.1", False, False, ("fp16", "int8"), ())
PLENTY = Memory(16 << 30, 16 << 30)
# The shape of Qwen2.5-Coder-1.5B.
GEOMETRY = Geometry(28, 1536, 8960, 12, 2, 128, 151_936, 1e6, 1e-6, True)
PARAMETERS = 1_543_714_304


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    tiny = tiny_bundle(tmp_path / "b", max_seq_len=1024)
    changes = {"geometry": GEOMETRY, "parameters": PARAMETERS}
    return Bundle(tiny.path, msgspec.structs.replace(tiny.manifest, **changes))


def chosen(bundle, gpu=ORIN, offer=NEW, memory=PLENTY, **options) -> Decision:
    return decide(bundle, CompileOptions(**options), offer, gpu, memory)


@pytest.mark.parametrize(
    ("sm", "has", "lacks"),
    [
        ("75", "int8", "fp8"),
        ("86", "int4", "fp8"),
        ("87", "int4", "fp8"),
        ("89", "fp8", "fp4"),
        ("90", "fp8", "fp4"),
        ("110", "fp4", ""),
        ("120", "fp4", ""),
        ("131", "fp8", ""),
    ],
)
def test_the_table(sm: str, has: str, lacks: str) -> None:
    capability = capability_of(sm)
    assert {"fp16", has} <= set(capability.precisions)
    assert lacks not in capability.precisions


@pytest.mark.parametrize("sm", ["", "8.7", "orin", "1", "8700", "８７"])
def test_what_is_no_capability(sm: str) -> None:
    with pytest.raises(BuildError, match="no compute capability"):
        capability_of(sm)


def test_a_device_that_is_too_old() -> None:
    with pytest.raises(BuildError, match=r"6\.2 is too old"):
        capability_of("62")


@pytest.mark.parametrize("precision", ["fp8", "fp4"])
def test_orin_refuses_fp8_and_fp4_with_the_reason_and_the_alternatives(bundle, precision: str) -> None:
    with pytest.raises(BuildError, match=rf"8\.7 \(Jetson Orin\) has no {precision.upper()}") as caught:
        chosen(bundle, precision=precision)
    assert "fp16, int8, int4 or auto" in caught.value.hint


def test_fp8_where_there_is_fp8(bundle) -> None:
    assert chosen(bundle, gpu=ADA, precision="fp8").precision == "fp8"


def test_fp4_is_not_built_anywhere(bundle) -> None:
    with pytest.raises(BuildError, match="builds no FP4 plans"):
        chosen(bundle, gpu=THOR, precision="fp4")


def test_an_old_tensorrt_has_neither_int4_nor_native_layers(bundle) -> None:
    decision = chosen(bundle, offer=OLD)
    assert (decision.lowering, decision.precision) == ("plain", "fp16")
    with pytest.raises(BuildError, match="cannot build INT4") as caught:
        chosen(bundle, offer=OLD, precision="int4")
    assert "fp16, int8 or auto" in caught.value.hint


def test_auto_is_fp16_where_it_fits_and_int4_where_only_that_does(bundle) -> None:
    assert "fits" in chosen(bundle).why
    assert "int8, int4" in chosen(bundle).why
    fp16, int4 = (chosen(bundle, precision=p).needs.serving for p in ("fp16", "int4"))
    assert int4 < fp16
    small = Memory(16 << 30, (fp16 + int4) // 2)
    decision = chosen(bundle, memory=small)
    assert decision.precision == "int4"
    assert "fp16 does not fit" in decision.why
    with pytest.raises(BuildError, match="no precision fits into 100 MB"):
        chosen(bundle, memory=Memory(16 << 30, 100_000_000))


def test_fp16_plans_share_weights_and_come_in_buckets_others_carry_them(bundle) -> None:
    def sizes(**options) -> list[tuple[str, int, int]]:
        return [(s.role, s.batch, s.tokens) for s in chosen(bundle, **options).shapes]

    steps = [("step", batch, 1) for batch in (1, 2, 4, 6)]
    assert sizes(max_batch=6) == [*steps, ("chunk", 1, 128)]
    assert sizes(max_batch=6, precision="int8") == [("step", 6, 1), ("chunk", 1, 128)]
    assert sizes(max_batch=1, max_seq_len=64) == [("step", 1, 1), ("chunk", 1, 64)]


def test_what_is_needed_follows_the_sizes(bundle) -> None:
    needs = chosen(bundle).needs
    assert needs.shared_weights == 2 * PARAMETERS
    assert needs.cache == 8 * 1024 * 2 * 2 * 28 * 2 * 128
    assert chosen(bundle, max_batch=4).needs.cache * 2 == needs.cache
    assert chosen(bundle, max_seq_len=512).needs.cache * 2 == needs.cache
    assert chosen(bundle, precision="int8").needs.building > needs.building


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (Memory(1 << 30, 16 << 30), "building needs about 3.5 GB of memory, 1.1 GB are available"),
        (Memory(16 << 30, 2 << 30), "serving needs about 3.7 GB of device memory, 2.1 GB are there"),
    ],
)
def test_too_little_memory_is_told_with_the_numbers(bundle, memory: Memory, message: str) -> None:
    decision = chosen(bundle, precision="fp16", memory=memory)
    assert "TOO LITTLE" in describe(decision, bundle.manifest)
    with pytest.raises(BuildError, match=message) as caught:
        check_memory(decision)
    assert "--max-batch" in caught.value.hint
    check_memory(chosen(bundle, memory=Memory(None, None)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_seq_len": 63}, "--max-seq-len 63 is outside 64 to 1024"),
        ({"max_seq_len": 1025}, "--max-seq-len 1025 is outside"),
        ({"max_seq_len": -1}, "--max-seq-len -1 is outside"),
        ({"max_batch": 0}, "--max-batch 0 is outside 1 to 64"),
        ({"max_batch": 65}, "--max-batch 65 is outside"),
    ],
)
def test_sizes_out_of_bounds(bundle, options, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        chosen(bundle, **options)


def test_only_rtx_builds_for_a_device_that_is_elsewhere(bundle) -> None:
    decision = chosen(bundle, gpu=None, offer=RTX, device="SM8.6")
    assert (decision.capability.sm, decision.gpu, decision.memory.device) == ("86", None, None)
    with pytest.raises(BuildError, match="shows no GPU here") as caught:
        chosen(bundle, gpu=None, offer=RTX)
    assert "sm86 or sm89" in caught.value.hint
    with pytest.raises(BuildError, match=r"does not build for 8\.7") as caught:
        chosen(bundle, gpu=ADA, offer=RTX, device="sm87")
    assert "sm86, sm89" in caught.value.hint
    with pytest.raises(BuildError, match=r"does not build for 8\.9"):
        chosen(bundle, device="sm89")
    assert chosen(bundle, device="sm87").gpu == ORIN


def test_the_reason_comes_first_even_where_the_device_is_elsewhere(bundle) -> None:
    with pytest.raises(BuildError, match="has no FP8"):
        chosen(bundle, gpu=None, offer=RTX, device="sm87", precision="fp8")


def test_the_report_says_what_and_why(bundle) -> None:
    text = describe(chosen(bundle), bundle.manifest)
    assert "device      Orin, 8 multiprocessors, compute capability 8.7 (Jetson Orin)" in text
    assert "native lowering" in text
    assert "fp8       compute capability 8.7 (Jetson Orin) has no FP8: it starts at 8.9" in text
    assert "steps of 1, 2, 4, 8 sequences, chunks of 128 tokens, 1024 tokens at most" in text
    assert "shared weights 3.1 GB" in text
    assert "17.2 GB on the device" in text


def test_what_a_calibration_keeps_in_fp16_counts_as_fp16(bundle) -> None:
    wanted = CompileOptions(precision="int8")
    decision = decide(bundle, wanted, NEW, ADA, PLENTY)
    matrices = ("qkv", "o_proj", "gate_up", "down_proj")
    every = {f"layers.{layer}.{matrix}" for layer in range(28) for matrix in matrices}

    def plans(points: set[str]) -> int:
        calibration = Calibration(
            precision="int8", weights_sha256="", texts=(), tokens=1, points=dict.fromkeys(points, Point(1.0))
        )
        with_it = msgspec.structs.replace(wanted, calibration=calibration)
        return recounted(bundle, decision, with_it).needs.plans

    assert plans(every) == decision.needs.plans
    # A step and a chunk, each a byte more for every value of 28 down projections.
    kept = {name for name in every if not name.endswith("down_proj")}
    assert plans(kept) - decision.needs.plans == 2 * 28 * 8960 * 1536
    fp16 = decide(bundle, CompileOptions(precision="fp16"), NEW, ADA, PLENTY).needs.shared_weights
    assert plans(set()) == pytest.approx(2 * fp16, rel=0.02)


def test_without_strong_typing_int8_takes_what_fp16_does(bundle) -> None:
    needs = chosen(bundle, gpu=ADA, offer=OLD, precision="int8").needs
    assert needs.shared_weights == 2 * 151_936 * 1536, "embeddings and head, which are one table"
    assert needs.plans == pytest.approx(2 * (2 * PARAMETERS - needs.shared_weights), rel=0.05)


@pytest.mark.parametrize(("layers", "sizes"), [(28, [4] * 7), (30, [2, *[4] * 7]), (4, [4]), (1, [1])])
def test_without_strong_typing_quantised_plans_are_in_parts(bundle, layers: int, sizes: list[int]) -> None:
    geometry = msgspec.structs.replace(GEOMETRY, layers=layers)
    manifest = msgspec.structs.replace(bundle.manifest, geometry=geometry)
    other = Bundle(bundle.path, manifest)
    decision = chosen(other, offer=OLD, precision="int8")
    sizes = [0, *sizes, 0]
    assert [len(part.layers) for part in decision.parts] == sizes
    assert [layer for part in decision.parts for layer in part.layers] == list(range(layers))
    assert [part.begins for part in decision.parts] == [True] + [False] * (len(sizes) - 1)
    assert [part.ends for part in decision.parts] == [False] * (len(sizes) - 1) + [True]
    assert f"{len(sizes)} parts each" in describe(decision, manifest)
    assert chosen(other, offer=NEW, precision="int8").parts == whole(layers)


def test_without_strong_typing_fp16_has_one_plan_for_every_layer(bundle) -> None:
    decision = chosen(bundle, offer=OLD)
    assert [part.repeats for part in decision.parts] == [1, 28, 1]
    assert [shape.batch for shape in decision.shapes if shape.role == "step"] == [1, 2, 4, 8]
    assert decision.needs.shared_weights == 2 * PARAMETERS
    assert decision.needs.plans < PARAMETERS / 10
    assert "3 parts each" in describe(decision, bundle.manifest)
