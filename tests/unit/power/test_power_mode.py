import os
import socket
import tempfile
import threading
from functools import partial
from pathlib import Path

import pytest
from tests.support import boards

from lineside.config import Config, PowerConfig
from lineside.errors import LinesideError
from lineside.power.actuators import Actuators
from lineside.power.board import discover
from lineside.power.governor import Governor
from lineside.power.gpu_cap import GpuCap
from lineside.power.helper import Helper
from lineside.power.helper_client import set_mode_through_helper
from lineside.power.nvpmodel import current_mode_id
from lineside.power.originals import NOTHING, OriginalsFile
from lineside.power.pacer import Pacer
from lineside.power.power_mode import PowerMode, run_nvpmodel
from lineside.power.settings import Change, Settings, Wish
from lineside.power.start import restore_originals, setter_of


@pytest.fixture
def tree(tmp_path):
    boards.nvpmodel(tmp_path / "board")
    return boards.orin_nano(tmp_path / "board")


@pytest.fixture
def file(tmp_path):
    return OriginalsFile(tmp_path / "power-originals.json")


@pytest.fixture
def make(tree, file):
    """A governor that wants a mode and a limit; both can be changed."""

    def governor(mode, limit_w=0.0, set_mode=None):
        board = discover(tree, nvml=False)
        cap = GpuCap(board.gpu, file, setter_of(board.gpu, "/nowhere"))
        power_mode = PowerMode(tree, board.gpu, file, set_mode or partial(run_nvpmodel, tree))
        wishes = [Wish(limit_w, "configuration", 85.0, mode)]
        governor = Governor(board, Pacer(), lambda: wishes[-1], Actuators(cap, power_mode), 4)
        return governor, wishes

    return governor


def run(governor, ticks, begin=0):
    for tick in range(begin, begin + ticks):
        decision = governor.step(tick * 100_000_000)
    return decision


def cap_hz(tree):
    return int((tree / "sys/class/devfreq/17000000.gpu/max_freq").read_text())


def test_a_mode_is_set_once_and_put_back_at_the_end(tree, file, make):
    governor, _ = make("10w")
    run(governor, 1)
    assert (current_mode_id(tree), cap_hz(tree)) == (3, 510_000_000)
    assert governor.facts().mode == "10W"
    boards.write(tree / "var/lib/nvpmodel/status", "pmode:0004")
    run(governor, 5, begin=1)
    assert current_mode_id(tree) == 4, "what somebody sets meanwhile is not fought"
    boards.write(tree / "var/lib/nvpmodel/status", "pmode:0003")
    governor.stop()
    assert (current_mode_id(tree), cap_hz(tree)) == (0, 612_000_000)
    assert file.read() == NOTHING


def test_the_clock_is_capped_within_the_modes_own_cap(tree, make):
    governor, wishes = make("3", limit_w=5.0)
    run(governor, 60)
    assert cap_hz(tree) == boards.NANO_HZ[0]
    wishes.append(Wish(0.0, "operator", 85.0, "3"))
    run(governor, 5, begin=60)
    assert cap_hz(tree) == 510_000_000, "the mode allows no more"
    governor.stop()
    assert (current_mode_id(tree), cap_hz(tree)) == (0, 612_000_000)


def test_a_mode_that_is_asked_no_more_goes_back_with_its_cap(tree, file, make):
    boards.write(tree / "sys/class/devfreq/17000000.gpu/max_freq", 408_000_000)
    governor, wishes = make("10W")
    run(governor, 1)
    wishes.append(Wish(0.0, "operator", 85.0, ""))
    run(governor, 1, begin=1)
    assert (current_mode_id(tree), cap_hz(tree)) == (0, 408_000_000)
    assert file.read() == NOTHING


@pytest.mark.parametrize(
    ("mode", "why"),
    [("7W", "another TPC_PG_MASK (252) than 15W (240): that needs a reboot"), ("25W", "no mode '25W'")],
)
def test_a_mode_that_cannot_be_taken_is_told_and_nothing_is_changed(tree, file, make, mode, why):
    governor, _ = make(mode)
    run(governor, 3)
    assert why in governor.facts().detail
    assert governor.facts().mode == "15W"
    assert (current_mode_id(tree), cap_hz(tree)) == (0, 612_000_000)
    governor.stop()
    assert file.read() == NOTHING


def test_without_rights_and_helper_it_is_told_and_pacing_goes_on(tree, make):
    governor, _ = make("10W", 5.0, set_mode=partial(set_mode_through_helper, "/nowhere/power.sock"))
    decision = run(governor, 100)
    assert "power mode 10W was not set: the power helper: nobody answers" in governor.facts().detail
    assert decision.duty < 0.1


def test_a_mode_that_did_not_hold_is_tried_again_when_it_is_asked_again(tree, make):
    boards.nvpmodel(tree, refused=3)
    governor, wishes = make("10W")
    run(governor, 2)
    assert "nvpmodel did not take mode 10W" in governor.facts().detail
    boards.nvpmodel(tree)
    run(governor, 2, begin=2)
    assert current_mode_id(tree) == 0
    wishes.append(Wish(0.0, "operator", 85.0, "10W", 1))
    run(governor, 1, begin=4)
    assert current_mode_id(tree) == 3
    assert governor.facts().detail == ""


@pytest.mark.parametrize(("now", "then"), [(3, 0), (4, 4)])
def test_what_a_crash_left_is_put_back_unless_somebody_has_set_another(tree, tmp_path, make, now, then):
    governor, _ = make("10W", limit_w=5.0)
    run(governor, 60)
    boards.write(tree / "var/lib/nvpmodel/status", f"pmode:000{now}")
    config = Config(state_dir=str(tmp_path), power=PowerConfig(root=str(tree)))
    done = restore_originals(config, discover(tree, nvml=False))
    assert current_mode_id(tree) == then
    assert ("15W again" in done) == (then == 0)
    assert cap_hz(tree) == 612_000_000
    assert OriginalsFile(config.power_originals_path).read() == NOTHING


def test_after_the_end_nothing_is_set_any_more(tree, make):
    governor, wishes = make("")
    governor.stop()
    wishes.append(Wish(5.0, "operator", 85.0, "10W", 1))
    run(governor, 60)
    assert (current_mode_id(tree), cap_hz(tree)) == (0, 612_000_000)


def test_the_privileged_helper_sets_it(tree, make):
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(directory) / "power.sock")
        listener.bind(path)
        listener.listen(4)
        peers = iter([True, True, False])
        helper = Helper(tree, frozenset({os.getuid()}))
        thread = threading.Thread(target=helper.serve, args=(listener, lambda: next(peers)))
        thread.start()
        governor, _ = make("10W", set_mode=partial(set_mode_through_helper, path))
        run(governor, 1)
        assert current_mode_id(tree) == 3
        governor.stop()
        assert current_mode_id(tree) == 0
        thread.join(5)


def test_an_operator_hears_at_once_why_a_mode_cannot_be(tree, tmp_path):
    settings = Settings(PowerConfig(root=str(tree), mode=0), tmp_path / "power-setting.json")
    assert settings.wish().mode == "0"
    with pytest.raises(LinesideError, match="needs a reboot"):
        settings.change(Change(mode="7W"))
    with pytest.raises(LinesideError, match=r"mode: there is no mode '25W'.*\n.*15W \(0\)"):
        settings.change(Change(mode="25W"))
    assert settings.change(Change(mode=3, by="me")) == "limit 0 W, from 85 C on less, mode 3"
    assert (settings.wish().mode, settings.wish().mode_asked) == ("3", 1)
    assert Settings(settings.config, settings.path).wish().mode == "3"
    settings.change(Change(mode=""))
    assert settings.wish().mode == ""
