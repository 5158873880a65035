"""The client of jetson-stats with an object in its place; scripts/try-jtop has the real service."""

import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from lineside.power.jtop_adapter import connect_jtop

S = 1_000_000_000


class JtopException(Exception):  # noqa: N818 the package's name
    """As the package's."""


class Client:
    """What jtop.jtop is to the adapter."""

    def __init__(self, interval):
        self.interval, self.age_s, self.error, self.running, self.refused = interval, 0.0, None, True, ""
        self.power = {"rail": {"VDD_SOC": {"power": 1500}}, "tot": {"power": 6000}}
        self.temperature = {"cpu": {"temp": 45.5}, "gpu": {"temp": -256}}

    def start(self):
        if self.refused:
            raise JtopException(self.refused)

    def ok(self, spin=False):
        if self.error is not None:
            raise self.error
        return self.running

    @property
    def uptime(self):
        return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - self.age_s)

    def close(self):
        self.running = False


@pytest.fixture
def client(monkeypatch):
    made = Client(0.5)
    monkeypatch.setitem(
        sys.modules, "jtop", SimpleNamespace(jtop=lambda interval: made, JtopException=JtopException)
    )
    return made


def test_rails_total_and_temperatures(client):
    jtop = connect_jtop()
    assert {p.name: p.sample(0).value for p in jtop.rails()} == {"VDD_SOC": 1500.0, "jtop total": 6000.0}
    cpu, gpu = (probe.sample(0) for probe in jtop.temperatures())
    assert (cpu.value, gpu.state, gpu.detail) == (45.5, "missing", "the zone is offline")


def test_without_its_service_there_is_a_reason(client, monkeypatch):
    client.refused = "The jtop.service is not active"
    assert connect_jtop() == "jtop: The jtop.service is not active"
    monkeypatch.setitem(sys.modules, "jtop", None)
    assert connect_jtop().startswith("jetson-stats is not installed")


@pytest.mark.parametrize("error", [EOFError("ended"), JtopException("Lost connection"), BrokenPipeError()])
def test_a_service_that_ends_makes_values_stale_and_nothing_else(client, error):
    total = connect_jtop().rails()[-1]
    assert total.sample(0).state == "ok"
    client.error = error
    seen = total.sample(2 * S)
    assert (seen.state, "has gone" in seen.detail) == ("stale", True)


def test_a_client_that_has_ended_is_no_source(client):
    jtop = connect_jtop()
    jtop.close()
    assert jtop.rails()[-1].sample(0).detail == "the jtop service has gone"


@pytest.mark.parametrize(
    ("interval", "age_s", "state"), [(0.5, 1.4, "ok"), (0.5, 9, "missing"), (5, 9, "ok")]
)
def test_values_of_a_service_that_stands_still_are_the_past(client, interval, age_s, state):
    client.interval, client.age_s = interval, age_s
    seen = connect_jtop().rails()[-1].sample(0)
    assert seen.state == state
    assert state == "ok" or seen.detail == "the jtop service's values are 9 s old"
