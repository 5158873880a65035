import pytest
from tests.support import boards

from lineside.errors import LinesideError
from lineside.power.nvpmodel import current_mode_id, parse_modes, read_modes


@pytest.fixture
def modes():
    return parse_modes(boards.NVPMODEL_ORIN_NANO)


def test_modes_are_those_of_the_power_model_sections(modes):
    assert [(mode.id, mode.name, mode.gpu_max_hz) for mode in modes.modes] == [
        (0, "15W", 612_000_000),
        (1, "7W", 408_000_000),
        (3, "10W", 510_000_000),
        (4, "MAXN_SUPER", None),
    ]
    assert modes.default_id == 0


@pytest.mark.parametrize("wanted", ["10W", "10w", "3"])
def test_a_mode_is_found_by_name_or_id_not_by_position(modes, wanted):
    assert modes.choose(wanted, 0).id == 3


def test_another_mask_is_refused_with_the_reason(modes):
    with pytest.raises(
        LinesideError, match=r"7W has another TPC_PG_MASK \(252\) than 15W \(240\).*reboot"
    ) as caught:
        modes.choose("7W", 0)
    assert "nvpmodel -m 1" in caught.value.hint
    with pytest.raises(LinesideError, match="reboot"):
        modes.choose("15W", 1)


def test_a_mode_that_is_not_there_names_those_that_are(modes):
    with pytest.raises(LinesideError, match=r"no mode '25W'") as caught:
        modes.choose("25W", 0)
    assert "15W (0), 7W (1), 10W (3), MAXN_SUPER (4)" in caught.value.hint


@pytest.mark.parametrize("current", [None, 2])
def test_without_the_present_mode_nothing_is_changed(modes, current):
    with pytest.raises(LinesideError, match="not known"):
        modes.choose("10W", current)


def test_table_and_present_mode_are_read_below_the_root(tmp_path):
    boards.orin_nano(tmp_path)
    boards.write(tmp_path / "var/lib/nvpmodel/status", "pmode:0003")
    assert len(read_modes(tmp_path).modes) == 4
    assert current_mode_id(tmp_path) == 3


def test_a_machine_without_nvpmodel_has_no_modes(tmp_path):
    assert read_modes(tmp_path).modes == ()
    assert current_mode_id(tmp_path) is None
