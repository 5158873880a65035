import pytest
from tests.support import boards

from lineside.power.board import discover
from lineside.power.rapl import EnergyCounter
from lineside.power.readings import read_text
from lineside.power.thermal import first_acting_trip

S = 1_000_000_000


def board_of(tree, tmp_path):
    return discover(tree(tmp_path), nvml=False)


def test_orin_nanos_total_is_its_input_rail(tmp_path):
    board = board_of(boards.orin_nano, tmp_path)
    sample = board.sample_power(0)
    assert board.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert [rail.name for rail in sample.rails] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert (sample.total.value, sample.total.state) == (12_000, "ok")
    assert board.total.explanation == "VDD_IN measures the whole input"


def test_agx_orins_total_is_the_sum_and_says_so(tmp_path):
    board = board_of(boards.agx_orin, tmp_path)
    assert board.sample_power(0).total.value == 8000 + 4000 + 4500 + 1500
    assert "NC" not in board.total.rails
    assert board.total.explanation.startswith(
        "sum of VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO"
    )


def test_thors_total_is_the_monitor_of_its_input(tmp_path):
    board = board_of(boards.thor, tmp_path)
    assert board.sample_power(0).total.value == 41_500
    assert board.total.rails == ("VIN",)
    assert board.gpu.directory.name == "gpu-gpc-0"
    assert board.gpu.frequencies_hz[-1] == 1_575_000_000


@pytest.mark.parametrize(
    ("tree", "gpu"), [(boards.orin_nano, "17000000.gpu"), (boards.orin_nx, "17000000.ga10b")]
)
def test_the_gpu_is_found_by_pattern(tmp_path, tree, gpu):
    board = board_of(tree, tmp_path)
    assert board.gpu.directory.name == gpu
    assert board.gpu.frequencies_hz == boards.NANO_HZ
    assert board.gpu.cap_hz() == boards.NANO_HZ[-1]
    heat = board.sample_heat(0)
    assert heat.gpu_load.value == pytest.approx(0.734)
    assert heat.gpu_hz.value == boards.NANO_HZ[0]


def test_a_gated_zone_is_missing_and_does_not_count(tmp_path):
    heat = board_of(boards.orin_nx, tmp_path).sample_heat(0)
    states = {zone.name: zone.state for zone in heat.zones}
    assert states["soc0-thermal"] == states["soc1-thermal"] == "missing"
    assert (heat.hottest.name, heat.hottest.value) == ("cpu-thermal", 50.0)


def test_only_trips_that_act_count(tmp_path):
    board = board_of(boards.orin_nano, tmp_path)
    assert first_acting_trip(board.zones, 60.0) == 99.0
    assert first_acting_trip(board.zones, 99.0) == 104.5
    assert first_acting_trip(board.zones, 105.0) is None


def test_over_current_events_are_counted(tmp_path):
    counts = board_of(boards.agx_orin, tmp_path).sample_heat(0).over_current
    assert {reading.name: reading.value for reading in counts} == {"oc1": 0, "oc2": 2, "oc3": 0}


def test_a_rail_that_vanishes_becomes_stale_after_a_second_and_comes_back(tmp_path):
    board = board_of(boards.orin_nano, tmp_path)
    volts = next(tmp_path.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/*/in1_input"))
    assert board.sample_power(0).total.state == "ok"
    volts.unlink()
    assert board.sample_power(S).total.state == "ok"
    stale = board.sample_power(S + 1).total
    assert (stale.state, stale.usable) == ("stale", None)
    assert stale.detail.startswith("VDD_IN: No such file")
    boards.write(volts, 5000)
    assert board.sample_power(3 * S).total.state == "ok"


def test_a_sum_is_as_fresh_as_its_worst_part(tmp_path):
    board = board_of(boards.agx_orin, tmp_path)
    next(tmp_path.glob("sys/bus/i2c/drivers/ina3221/1-0041/hwmon/*/in2_input")).write_text("rubbish")
    total = board.sample_power(0).total
    assert total.state == "missing"
    assert "VDDQ_VDD2_1V8AO" in total.detail


def test_a_machine_without_anything_has_states_and_notes(tmp_path):
    board = discover(tmp_path, nvml=False)
    assert board.sample_power(0).total.state == "missing"
    assert board.sample_heat(0).hottest.state == "missing"
    assert board.model == "unknown"
    assert len([note for note in board.notes if note.startswith("no ")]) == 3


def test_the_machine_itself_can_be_discovered():
    board = discover(jtop=True)
    assert board.sample_power(0).total.state in ("ok", "missing")
    board.close()


def test_a_pcs_packages_are_added_up_once(tmp_path):
    board = board_of(boards.pc, tmp_path)
    assert board.total.rails == ("PACKAGE_0", "PACKAGE_1")
    assert board.sample_power(0).total.state == "missing", "power needs two reads of an energy counter"


def test_psys_holds_the_packages(tmp_path):
    boards.pc(tmp_path)
    boards.write(tmp_path / "sys/class/powercap/intel-rapl:2/name", "psys")
    boards.write(tmp_path / "sys/class/powercap/intel-rapl:2/energy_uj", 5)
    assert discover(tmp_path, nvml=False).total.rails == ("PSYS",)


def test_an_energy_counter_becomes_power_and_wraps(tmp_path):
    now_ns, file = [0], tmp_path / "energy_uj"
    counter = EnergyCounter(file, 10_000_000, lambda: now_ns[0])
    boards.write(file, 9_000_000)
    with pytest.raises(ValueError, match="first interval"):
        counter.read()
    now_ns[0] = S
    boards.write(file, 4_000_000)
    assert counter.read() == pytest.approx(5000)
    now_ns[0] = S + 1
    assert counter.read() == pytest.approx(5000), "too short an interval keeps the last"


def test_a_file_is_read_to_a_bound(tmp_path):
    (tmp_path / "big").write_text("1" * 5000)
    assert len(read_text(tmp_path / "big")) == 4096
