import msgspec
import pytest
from tests.support import boards

from lineside.config import Config, PowerConfig
from lineside.power.actuators import Actuators
from lineside.power.board import discover
from lineside.power.governor import Governor
from lineside.power.gpu_cap import GpuCap
from lineside.power.originals import NOTHING, Originals, OriginalsFile
from lineside.power.pacer import Pacer
from lineside.power.schedule import Period, limit_at
from lineside.power.settings import Wish
from lineside.power.start import restore_originals, setter_of

NIGHT = Period(name="night", begin="22:00", end="06:00", limit_w=7.0)
DAY = Period(name="day", begin="06:00", end="22:00", limit_w=15.0)


@pytest.fixture
def tree(tmp_path):
    return boards.orin_nano(tmp_path / "board")


def governor_of(tree, tmp_path, limit_w, pacer=None):
    board = discover(tree, nvml=False)
    cap = GpuCap(board.gpu, OriginalsFile(tmp_path / "originals.json"), setter_of(board.gpu, "/nowhere"))
    wish = Wish(limit_w, "configuration", 85.0)
    return Governor(board, pacer or Pacer(), lambda: wish, Actuators(cap), 4)


def run(governor, ticks, begin=0):
    for tick in range(begin, begin + ticks):
        decision = governor.step(tick * 100_000_000)
    return decision


def cap_hz(tree):
    return int((tree / "sys/class/devfreq/17000000.gpu/max_freq").read_text())


def test_without_a_limit_nothing_is_touched(tree, tmp_path):
    governor = governor_of(tree, tmp_path, 0.0)
    run(governor, 30)
    facts = governor.facts()
    assert (facts.state, facts.power_w, facts.duty) == ("unlimited", 12.0, 1.0)
    assert facts.energy_j == pytest.approx(12.0 * 2.9)
    assert facts.total == "VDD_IN measures the whole input"
    assert cap_hz(tree) == boards.NANO_HZ[-1]
    assert not (tmp_path / "originals.json").exists()


def test_over_the_limit_the_clock_goes_down_and_comes_back_at_the_end(tree, tmp_path):
    governor = governor_of(tree, tmp_path, 5.0)
    run(governor, 100)
    facts = governor.facts()
    assert facts.state == "cap_unreachable"
    assert facts.floor_w == pytest.approx(12.0, rel=0.01)
    assert facts.detail == "at the lowest setting the machine draws 12.0 W"
    assert governor.pacer.published._limit.duty < 0.1
    assert cap_hz(tree) == boards.NANO_HZ[0] == facts.gpu_max_hz
    governor.stop()
    assert cap_hz(tree) == boards.NANO_HZ[-1]
    assert not (tmp_path / "originals.json").exists()
    assert governor.pacer.limit().duty == 1.0


def test_a_cap_that_somebody_else_set_is_never_exceeded(tree, tmp_path):
    boards.write(tree / "sys/class/devfreq/17000000.gpu/max_freq", boards.NANO_HZ[1])
    governor = governor_of(tree, tmp_path, 20.0)
    run(governor, 50)
    assert cap_hz(tree) == boards.NANO_HZ[1]


def test_without_rights_and_helper_pacing_alone_works_and_says_so(tree, tmp_path):
    governor = governor_of(tree, tmp_path, 5.0)

    def refuse(_hz):
        raise OSError("the power helper does not answer")

    governor.actuators.cap.set_cap = refuse
    decision = run(governor, 100)
    assert "pacing alone holds the limit" in governor.facts().detail
    assert decision.gpu_max_hz is None
    assert decision.duty < 0.1
    assert cap_hz(tree) == boards.NANO_HZ[-1]


def test_a_dead_sensor_is_a_state(tree, tmp_path):
    governor = governor_of(tree, tmp_path, 15.0)
    run(governor, 10)
    for file in tree.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/*/in1_input"):
        file.unlink()
    run(governor, 30, begin=10)
    facts = governor.facts()
    assert facts.state == "sensor_stale"
    assert facts.detail.startswith("the limit cannot be measured: VDD_IN: No such file")
    assert facts.power_w is None


def test_what_a_crash_left_is_put_back(tree, tmp_path):
    config = Config(state_dir=str(tmp_path), power=PowerConfig(limit_w=5.0, root=str(tree)))
    board = discover(tree, nvml=False)
    assert restore_originals(config, board) == ""
    file = OriginalsFile(config.power_originals_path)
    file.keep(Originals(str(board.gpu.max_freq), boards.NANO_HZ[-1]))
    boards.write(board.gpu.max_freq, boards.NANO_HZ[0])
    assert restore_originals(config, board) == "the GPU's clock cap is 612000000 Hz again"
    assert cap_hz(tree) == boards.NANO_HZ[-1]
    assert file.read() == NOTHING


@pytest.mark.parametrize("content", [b"", b"{", b'{"max_freq": "/etc/passwd", "hz": 5}', b'{"max_freq": 1}'])
def test_a_file_of_originals_that_is_none_writes_nowhere(tree, tmp_path, content):
    config = Config(state_dir=str(tmp_path), power=PowerConfig(root=str(tree)))
    config.power_originals_path.write_bytes(content)
    restore_originals(config, discover(tree, nvml=False))
    assert cap_hz(tree) == boards.NANO_HZ[-1]


def test_the_thread_starts_and_stops(tree, tmp_path):
    governor = governor_of(tree, tmp_path, 5.0)
    governor.start()
    governor.stop()
    assert not governor._thread.is_alive()


@pytest.mark.parametrize(
    ("clock", "limit"),
    [("21:59", 15.0), ("22:00", 7.0), ("00:00", 7.0), ("05:59", 7.0), ("06:00", 15.0)],
)
def test_day_and_night(clock, limit):
    assert limit_at((DAY, NIGHT), clock, 3.0)[0] == limit


def test_outside_every_period_the_configuration_holds():
    assert limit_at((NIGHT,), "12:00", 3.0) == (3.0, "configuration")
    assert limit_at((NIGHT,), "23:00", 3.0) == (7.0, "schedule: night")


@pytest.mark.parametrize("clock", ["24:00", "7:00", "06:60", ""])
def test_a_time_that_is_none_is_refused(clock):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "x", "begin": clock, "end": "06:00", "limit_w": 1.0}, Period)
