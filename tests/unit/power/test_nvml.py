import sys
from pathlib import Path

import pytest
from tests.support.fake_nvml import FakeNvml

from lineside.power.board import discover
from lineside.power.nvml import find_nvml


@pytest.fixture
def found(monkeypatch):
    def find(**fake):
        nvml = FakeNvml(**fake)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return find_nvml()

    return find


def test_every_call_that_answers_is_a_probe(found):
    device = found()
    assert device.power.sample(0).value == 250_000.0
    assert device.energy.sample(0).value == 5.0
    assert (device.temperature.sample(0).value, device.load.sample(0).value) == (50.0, 0.8)
    assert device.clock.sample(0).value == 1_980_000_000
    assert device.limit.watts() == {"least": 200.0, "most": 700.0, "now": 700.0}
    assert device.unsupported == ()


def test_the_mean_of_a_second_is_read_where_there_is_no_instant_power(found):
    device = found(refused=("nvmlDeviceGetFieldValues",))
    assert device.power.sample(0).value == 111_000
    assert device.unsupported == ("nvmlDeviceGetFieldValues: Not Supported",)


def test_an_older_binding_lacks_the_field_and_that_is_no_failure(found, monkeypatch):
    monkeypatch.delattr(FakeNvml, "NVML_FI_DEV_POWER_INSTANT")
    assert found().power.sample(0).value == 111_000


@pytest.mark.parametrize(("kind", "result"), [(4, 0), (1, 3)], ids=["another type", "an error"])
def test_a_field_without_a_value_is_not_taken(found, monkeypatch, kind, result):
    plain = FakeNvml.nvmlDeviceGetFieldValues

    def odd(self, handle, fields):
        values = plain(self, handle, fields)
        values[0].valueType, values[0].nvmlReturn = kind, result
        return values

    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetFieldValues", odd)
    device = found()
    assert device.power.sample(0).value == 111_000
    assert "the field cannot be read" in device.unsupported[0]


@pytest.mark.parametrize(
    "call",
    [
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetPowerManagementLimit",
        "nvmlDeviceGetPowerManagementLimitConstraints",
    ],
)
def test_without_one_of_its_calls_there_is_no_limit_and_all_else_stays(found, call):
    device = found(refused=(call,))
    assert device.limit is None
    assert device.unsupported == ("power limit: Not Supported",)
    assert device.power.sample(0).value == 250_000.0


@pytest.mark.parametrize("bounds", [(0, 700_000), (300_000, 300_000)])
def test_bounds_that_leave_nothing_to_choose_are_no_limit(found, bounds):
    assert found(bounds=bounds).limit is None


def test_on_a_machine_without_rails_the_gpu_is_the_total(found, tmp_path):
    found()
    sample = discover(Path(tmp_path)).sample_power(0)
    assert (sample.total.value, sample.total.state) == (250_000.0, "ok")


def test_a_driver_that_is_not_there_is_a_reason(found):
    assert found(refused=("nvmlInit",)) == "NVML: Not Supported"


def test_a_package_that_is_not_there_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_nvml() == "nvidia-ml-py is not installed: pip install 'lineside[nvml]'"
