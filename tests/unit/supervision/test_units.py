"""The units: systemd understands every line of them, and they open no more than they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
HELPER = "lineside-power.service"
DROPINS = (
    ("lineside.service", "jetson.conf"),
    ("lineside-doctor.service", "jetson.conf"),
    ("lineside-broker.service", "lan.conf"),
    (HELPER, "nvidia-power.conf"),
)
PROGRAM = "/opt/lineside/bin/lineside"


def exposure(unit: Path) -> float:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_is_exposed(name):
    assert exposure(UNITS / name) <= (1.2 if name == HELPER else 1.6)


@pytest.mark.parametrize("name", ["lineside.service", "lineside-doctor.service"])
def test_a_jetson_opens_little_more(tmp_path, name):
    unit = tmp_path / name
    unit.write_text((UNITS / name).read_text() + (UNITS / "jetson.conf").read_text())
    assert exposure(unit) <= 1.6


def test_a_card_opens_no_more_than_the_helper_may(tmp_path):
    unit = tmp_path / HELPER
    unit.write_text((UNITS / HELPER).read_text() + (UNITS / "nvidia-power.conf").read_text())
    assert exposure(unit) <= 1.2


def test_the_lan_opens_little_more(tmp_path):
    unit = tmp_path / "lineside-broker.service"
    unit.write_text((UNITS / "lineside-broker.service").read_text() + (UNITS / "lan.conf").read_text())
    assert exposure(unit) <= 1.2


def test_systemd_has_nothing_to_say_about_them(tmp_path):
    """It exits with 0 after an unknown key, too: what counts is that it is silent."""
    program = Path(sys.executable).parent / "lineside"
    for path in UNITS.iterdir():
        if path.suffix in (".service", ".socket", ".timer"):
            (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, str(program)))
    for name, dropin in DROPINS:
        directory = tmp_path / f"{name}.d"
        directory.mkdir()
        (directory / dropin).write_text((UNITS / dropin).read_text().replace(PROGRAM, str(program)))
    units = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(units) >= 4
    assert {dropin for _, dropin in DROPINS} == {path.name for path in UNITS.glob("*.conf")}
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
