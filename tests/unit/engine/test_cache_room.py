import msgspec
import pytest
from tests.support.tiny import tiny_bundle

from lineside.config import EngineConfig
from lineside.engine.bundle import Bundle, BundleError
from lineside.engine.cache_room import HALF_BYTES, Room, room_for, slot_bytes

MB = 1 << 20


@pytest.fixture
def bundle(tmp_path):
    """Two layers of one head of 64, 4096 tokens: one sequence takes 2 MiB in 16 bits."""
    bundle = tiny_bundle(tmp_path)
    sizes = msgspec.structs.replace(bundle.manifest.geometry, layers=2, kv_heads=1, head_dim=64)
    manifest = msgspec.structs.replace(bundle.manifest, geometry=sizes, max_seq_len=4096)
    return Bundle(bundle.path, manifest)


def room(bundle, budget_mb, slots=4, kept=2):
    config = EngineConfig(slots=slots, kept_prefixes=kept, kv_budget_mb=budget_mb)
    found = room_for(bundle.manifest, config, HALF_BYTES)
    return found.slots, found.kept_slots


def test_a_sequence_is_counted_in_every_layer_keys_and_values(bundle):
    assert slot_bytes(bundle.manifest, HALF_BYTES) == 2 * MB


@pytest.mark.parametrize(
    ("budget_mb", "fits"),
    [(0, (4, 2)), (100, (4, 2)), (12, (4, 2)), (11, (4, 1)), (8, (4, 0)), (7, (3, 0)), (2, (1, 0))],
)
def test_what_is_kept_goes_first_then_what_runs(bundle, budget_mb, fits):
    assert room(bundle, budget_mb) == fits


@pytest.mark.parametrize(
    ("budget_mb", "fits"), [(0, (4, 5, 3)), (18, (4, 5, 3)), (14, (4, 3, 1)), (12, (4, 2, 0)), (7, (3, 0, 0))]
)
def test_manuals_entries_are_given_up_first(bundle, budget_mb, fits):
    config = EngineConfig(slots=4, kept_prefixes=2, kv_budget_mb=budget_mb)
    found = room_for(bundle.manifest, config, HALF_BYTES, kept_entries=3)
    assert (found.slots, found.kept_slots, found.lasting_slots) == fits


def test_no_room_for_one_sequence_is_refused_with_what_it_takes(bundle):
    with pytest.raises(BundleError, match=r"kv_budget_mb = 1 has room for no sequence.*takes 2") as caught:
        room(bundle, 1)
    assert "set it to 2 or more" in caught.value.hint


def test_an_engine_that_takes_more_all_the_same_is_refused(bundle):
    Room(1, 0, 0).check(bundle, 100 * MB)
    Room(1, 0, 4 * MB).check(bundle, 4 * MB)
    with pytest.raises(BundleError, match=r"the caches take 16 MiB, .engine. kv_budget_mb allows 4"):
        Room(1, 0, 4 * MB).check(bundle, 16 * MB)
