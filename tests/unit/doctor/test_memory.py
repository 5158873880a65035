import pytest
from tests.support.tiny import tiny_bundle
from tests.unit.doctor.test_checks import write_manifest

from lineside.config import BundleConfig, Config, DiagnosisConfig, EngineConfig
from lineside.doctor.bundle import ENTRY_SHARE, memory_needed
from lineside.engine import choose
from lineside.engine.cache_room import FLOAT_BYTES, HALF_BYTES, slot_bytes


def test_entries_that_are_kept_are_counted_where_a_model_makes_diagnoses(tmp_path):
    made = tiny_bundle(tmp_path)
    write_manifest(made)
    each = slot_bytes(made.manifest, FLOAT_BYTES)

    def needed(entries, mode):
        engine = EngineConfig(kept_entries=entries)
        bundle = BundleConfig(str(made.path))
        return memory_needed(Config(bundle=bundle, engine=engine, diagnosis=DiagnosisConfig(mode)))

    assert needed(9, "model") - needed(0, "model") == 9 * each // ENTRY_SHARE
    assert needed(9, "auto") == needed(0, "auto") == needed(0, "model")


@pytest.mark.parametrize(("engine", "slots"), [("tensorrt", 7), ("onnxruntime-cuda", 4)])
def test_on_a_device_caches_are_of_two_bytes_and_no_entries_are_kept(tmp_path, monkeypatch, engine, slots):
    """ONNX Runtime keeps no beginnings there either."""
    made = tiny_bundle(tmp_path)
    write_manifest(made)
    monkeypatch.setitem(choose._ABSENT, engine, lambda _: "")

    def needed(slots, prefixes, entries):
        sizes = EngineConfig(engine, slots=slots, kept_prefixes=prefixes, kept_entries=entries)
        bundle = BundleConfig(str(made.path))
        return memory_needed(Config(bundle=bundle, engine=sizes, diagnosis=DiagnosisConfig("model")))

    each = slot_bytes(made.manifest, HALF_BYTES)
    assert needed(4, 3, 9) - needed(1, 0, 0) == (slots - 1) * each
