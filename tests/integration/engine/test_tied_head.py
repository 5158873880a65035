"""A tied head and the embedding are one tensor: in the file, and in memory."""

import re
from pathlib import Path

import onnx
import pytest

from lineside.engine.base import Extension
from lineside.engine.bundle import ONNX_MODEL, WEIGHTS, open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine
from lineside_models.safetensors_file import read_safetensors


@pytest.fixture(scope="module")
def bundle(smollm2_bundle):
    return open_bundle(smollm2_bundle)


def test_the_store_has_it_once_and_lookup_and_product_read_the_same_bytes(bundle):
    assert bundle.manifest.geometry.tied_head
    entries = read_safetensors(bundle.file(WEIGHTS)).entries
    assert not any(name.startswith("head") for name in entries)
    model = onnx.load(str(bundle.file(ONNX_MODEL)), load_external_data=False)
    places = {
        one.name: {entry.key: entry.value for entry in one.external_data} for one in model.graph.initializer
    }
    (lookup,) = (node for node in model.graph.node if node.op_type == "GatherBlockQuantized")
    assert any(node.op_type == "MatMulNBits" and node.input[1] == "embed.q" for node in model.graph.node)
    assert places[lookup.input[0]] == places["embed.q"]
    assert places["embed.q"]["offset"] == str(entries["embed.q"].offset)


def test_in_memory_the_lookup_reads_the_file_and_takes_pages_of_the_rows_it_read_alone(bundle):
    """The product's kernel has its own order of the bytes; the lookup's are the file's, never written to."""
    engine = OnnxRuntimeEngine(bundle, slots=1, threads=2, max_chunk_tokens=64)
    engine.forward([Extension(0, 0, tuple(range(100, 164)), (63,))])
    entry = read_safetensors(bundle.file(WEIGHTS)).entries["embed.q"]
    mapped = [one for one in mappings(bundle.file(WEIGHTS)) if one["size"] >= entry.size]
    assert mapped, "the file is not read by mapping it"
    for one in mapped:
        assert one["anonymous"] == 0
        assert one["resident"] < entry.size / 10
    engine.close()


def mappings(file: Path) -> list[dict[str, int]]:
    """Bytes of each mapping of a file into this process."""
    found = []
    for block in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        if not block.partition("\n")[0].endswith(f"/{file.parent.name}/{file.name}"):
            continue
        kib = {name: int(value) << 10 for name, value in re.findall(r"(?m)^(\w+): +(\d+) kB", block)}
        found.append({"size": kib["Size"], "resident": kib["Rss"], "anonymous": kib["Anonymous"]})
    return found
