import sys
from pathlib import Path

import pytest
from tests.support.fake_nvml import FakeNvml, NVMLError

from lineside.config import Config, PowerConfig
from lineside.power import start
from lineside.power.actuators import Actuators
from lineside.power.board import discover
from lineside.power.governor import Governor
from lineside.power.gpu_limit import GpuLimit, write_limit
from lineside.power.helper import Helper, Request
from lineside.power.originals import NOTHING, OriginalsFile
from lineside.power.pacer import Pacer
from lineside.power.settings import Wish


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def file(tmp_path):
    return OriginalsFile(tmp_path / "power-originals.json")


@pytest.fixture
def actuator(nvml, file, tmp_path):
    limit = discover(tmp_path).nvml.limit
    return GpuLimit(limit, file, lambda milliwatts: write_limit(limit, milliwatts))


class Clock:
    now_ns = 0

    def __call__(self):
        return self.now_ns


def governor_of(tmp_path, file, limit_w, set_limit=None):
    board = discover(tmp_path)
    limit = start.limit_of(board)
    gpu = GpuLimit(limit, file, set_limit or (lambda milliwatts: write_limit(limit, milliwatts)))
    wish = [Wish(limit_w, "configuration", 85.0)]
    governor = Governor(board, Pacer(clock_ns=Clock()), lambda: wish[0], Actuators(gpu_limit=gpu), 4)
    return governor, wish


def run(governor, ticks, begin=0, nvml=None):
    for tick in range(begin, begin + ticks):
        governor.pacer.clock_ns.now_ns = tick * 100_000_000
        governor.pacer.pause_s()  # there is work
        decision = governor.step(tick * 100_000_000)
        if nvml is not None:
            nvml.duty = decision.duty
    return decision


def config_of(tmp_path):
    return Config(state_dir=str(tmp_path), power=PowerConfig(root=str(tmp_path)))


def test_what_was_there_is_kept_before_the_first_change_and_put_back(actuator, nvml, file):
    actuator.apply(300_000)
    assert (nvml.limit_mw, file.read().gpu, file.read().gpu_limit_mw) == (300_000, "GPU-1", 700_000)
    actuator.apply(400_000)
    actuator.apply(None)
    assert (nvml.set_to, nvml.limit_mw) == ([300_000, 400_000, 700_000], 700_000)
    assert file.read() == NOTHING


def test_more_than_was_there_is_never_set(nvml, actuator, file):
    nvml.limit_mw = 500_000
    second = GpuLimit(actuator.limit, file, actuator.set_limit)
    second.apply(600_000)
    assert (nvml.set_to, file.read()) == ([], NOTHING)
    second.apply(300_000)
    second.apply(600_000)
    assert nvml.set_to == [300_000, 500_000]


@pytest.mark.parametrize("milliwatts", [199_999, 700_001, 0, -1])
def test_what_is_out_of_the_cards_bounds_is_refused(nvml, actuator, milliwatts):
    with pytest.raises(ValueError, match="out of this GPU's bounds, 200000 to 700000 mW"):
        write_limit(actuator.limit, milliwatts)
    assert nvml.set_to == []


@pytest.mark.parametrize("milliwatts", [200_000, 700_000])
def test_the_bounds_themselves_are_set(nvml, actuator, milliwatts):
    write_limit(actuator.limit, milliwatts)
    assert nvml.set_to == [milliwatts]


def test_without_rights_it_is_told_once_and_not_tried_again(nvml, actuator, monkeypatch):
    tried = []

    def refuse(_self, _handle, milliwatts):
        tried.append(milliwatts)
        raise NVMLError("Insufficient Permissions")

    monkeypatch.setattr(FakeNvml, "nvmlDeviceSetPowerManagementLimit", refuse)
    actuator.apply(300_000)
    actuator.apply(400_000)
    assert tried == [300_000]
    assert "Insufficient Permissions): pacing alone holds the limit" in actuator.trouble


def test_what_a_crash_left_is_put_back_and_only_on_the_same_card(nvml, actuator, tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    config = config_of(tmp_path)
    actuator.apply(300_000)
    assert start.restore_originals(config, discover(tmp_path)) == "the GPU's power limit is 700 W again"
    assert (nvml.limit_mw, actuator.file.read()) == (700_000, NOTHING)
    assert start.restore_originals(config, discover(tmp_path)) == ""
    GpuLimit(actuator.limit, actuator.file, actuator.set_limit).apply(300_000)
    nvml.uuid = "GPU-2"
    done = start.restore_originals(config, discover(tmp_path))
    assert done == "the GPU whose power was limited is not there any more"
    assert (nvml.limit_mw, actuator.file.read()) == (300_000, NOTHING)


def test_what_could_not_be_put_back_stays_for_the_next_start(nvml, actuator, tmp_path, monkeypatch):
    actuator.apply(300_000)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = start.restore_originals(config_of(tmp_path), discover(tmp_path))
    assert "was not put back: the power helper: nobody answers" in done
    assert actuator.file.read().gpu_limit_mw == 700_000
    again = GpuLimit(actuator.limit, actuator.file, actuator.set_limit)
    assert again.top_mw == 700_000, "not the 300 W that a crash has left"


def test_the_governor_leaves_to_the_driver_what_it_can_hold(nvml, file, tmp_path):
    nvml.draws_mw = 600_000
    governor, wish = governor_of(tmp_path, file, 400.0)
    decision = run(governor, 600, nvml=nvml)
    assert nvml.limit_mw == 396_000
    assert governor.facts().state == "limiting"
    assert decision.duty > 0.95, "pacing has next to nothing left to do"
    assert governor.facts().gpu_limit_w == 396.0
    wish[0] = Wish(0.0, "configuration", 85.0)
    run(governor, 5, begin=600)
    assert (nvml.limit_mw, governor.facts().gpu_limit_w, file.read()) == (700_000, None, NOTHING)


def test_the_governors_end_puts_it_back_and_nothing_is_set_after_it(nvml, file, tmp_path):
    governor, _ = governor_of(tmp_path, file, 400.0)
    run(governor, 5)
    governor.stop()
    run(governor, 5, begin=5)
    assert (nvml.limit_mw, file.read()) == (700_000, NOTHING)


def test_below_the_cards_least_pacing_holds_the_rest(nvml, file, tmp_path):
    governor, _ = governor_of(tmp_path, file, 150.0)
    decision = run(governor, 200)
    assert nvml.limit_mw == 200_000
    assert decision.duty < 0.1


def test_a_sensor_that_fails_leads_to_the_least(nvml, file, tmp_path, monkeypatch):
    governor, _ = governor_of(tmp_path, file, 400.0)
    run(governor, 5)
    nvml.refused = ("nvmlDeviceGetFieldValues",)
    run(governor, 20, begin=5)
    assert governor.facts().state == "sensor_stale"
    assert nvml.limit_mw == 200_000


def test_without_rights_pacing_alone_works_and_says_so(nvml, file, tmp_path):
    def refuse(_milliwatts):
        raise OSError("the power helper does not answer")

    governor, _ = governor_of(tmp_path, file, 150.0, refuse)
    decision = run(governor, 100)
    assert decision.duty < 0.1
    assert "pacing alone holds the limit" in governor.facts().detail


def test_a_limit_whose_power_is_not_measured_is_left_alone(nvml, tmp_path):
    nvml.refused = ("nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage")
    assert start.limit_of(discover(tmp_path)) is None


def test_the_helper_sets_it_within_the_same_bounds(nvml, tmp_path):
    helper = Helper(Path(tmp_path), frozenset())
    done = helper.carry_out(Request("gpu_power_limit_mw", 250_000))
    assert (done, nvml.limit_mw) == ("gpu_power_limit_mw is 250000", 250_000)
    with pytest.raises(ValueError, match="out of this GPU's bounds"):
        helper.carry_out(Request("gpu_power_limit_mw", 100_000))
    nvml.refused = ("nvmlDeviceGetPowerManagementLimit",)
    with pytest.raises(ValueError, match="Fake GPU has no power limit that can be set"):
        helper.carry_out(Request("gpu_power_limit_mw", 250_000))
    nvml.refused = ("nvmlInit",)
    with pytest.raises(ValueError, match="NVML: Not Supported"):
        helper.carry_out(Request("gpu_power_limit_mw", 250_000))
