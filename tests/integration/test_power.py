"""The daemon on a fake board: measured, limited, and put back."""

import json
import time

import pytest
from tests.support import boards
from tests.support.daemon import DEMO, Daemon, lineside

from lineside.power.nvpmodel import current_mode_id
from lineside.transport.grpc import client

REPORT = json.loads((DEMO / "faults" / "overtemperature.en.json").read_text("utf-8"))


@pytest.fixture
def tree(tmp_path):
    return boards.orin_nano(tmp_path / "board")


@pytest.fixture
def make(tmp_path, tree, smollm2_bundle):
    made = []

    def daemon(**power):
        made.append(Daemon(tmp_path / "daemon", smollm2_bundle, power={"root": str(tree), **power}))
        made[-1].import_demo()
        return made[-1]

    yield daemon
    for one in made:
        one.end()


def cap_hz(tree):
    return int((tree / "sys/class/devfreq/17000000.gpu/max_freq").read_text())


def test_a_diagnosis_tells_its_energy_and_the_status_the_boards(make):
    daemon = make()
    daemon.start()
    diagnosis = daemon.ask(REPORT)
    seconds = diagnosis["timings"]["model_ms"] / 1000
    assert diagnosis["mode"] == "model"
    assert 0.5 * 12.0 * seconds < diagnosis["energy_j"] < 1.1 * 12.0 * seconds + 0.5
    assert diagnosis["timings"]["energy_j"] == diagnosis["energy_j"]
    assert diagnosis["timings"]["tokens_per_j"] > 0
    power = daemon.status().power
    assert (power.state, power.power_w, power.limit_w) == ("unlimited", pytest.approx(12.0), 0.0)
    assert [rail.name for rail in power.rails_w] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert power.energy_j > 0
    assert power.tokens_per_j > 0
    assert power.joules_per_diagnosis == pytest.approx(diagnosis["energy_j"], rel=0.01)


def test_limit_and_mode_are_acted_on_and_what_a_crash_leaves_is_put_back(make, tree):
    boards.nvpmodel(tree)
    daemon = make(limit_w=5.0, mode=3)
    daemon.start()
    end_s = time.monotonic() + 30
    while daemon.status().power.state != "cap_unreachable":
        assert time.monotonic() < end_s, daemon.log.read_text()
        time.sleep(0.2)
    assert cap_hz(tree) == boards.NANO_HZ[0]
    assert client.diagnose(daemon.address, json.dumps(REPORT).encode(), 60), "it answers all the same"
    assert daemon.status().power.mode == "10W"
    refused = lineside("power", "set", "--mode", "7W", "--config", daemon.config)
    assert refused.returncode == 1
    assert b"7W has another TPC_PG_MASK" in refused.stderr
    daemon.kill()
    assert cap_hz(tree) == boards.NANO_HZ[0]
    done = lineside("power", "restore", "--config", daemon.config)
    assert b"the power mode is 15W again; the GPU's clock cap is 612000000 Hz again" in done.stdout
    assert current_mode_id(tree) == 0
    assert cap_hz(tree) == boards.NANO_HZ[-1]


def test_a_hot_board_answers_from_the_manual(make, tree):
    boards.write(tree / "sys/class/thermal/thermal_zone0/temp", 97_000)
    daemon = make()
    daemon.start()
    diagnosis = daemon.ask(REPORT)
    assert (diagnosis["status"], diagnosis["mode"]) == ("ok", "rules")
    assert diagnosis["energy_j"] == diagnosis["timings"]["energy_j"] > 0
    assert diagnosis["timings"]["tokens_per_j"] is None
    assert "too hot" in diagnosis["message"]
    assert daemon.status().power.state == "too_hot"


def test_the_command_shows_what_the_board_has(make):
    done = lineside("power", "sensors", "--config", make().config)
    shown = json.loads(done.stdout)
    assert shown["total_w"] == 12.0
    assert shown["modes"] == {"15W": 0, "7W": 1, "10W": 3, "MAXN_SUPER": 4}
    assert shown["gpu_frequencies_hz"][-1] == 612_000_000
