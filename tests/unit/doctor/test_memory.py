from tests.support.tiny import tiny_bundle
from tests.unit.doctor.test_checks import write_manifest

from lineside.config import BundleConfig, Config, DiagnosisConfig, EngineConfig
from lineside.doctor.bundle import ENTRY_SHARE, memory_needed
from lineside.engine.cache_room import FLOAT_BYTES, slot_bytes


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
