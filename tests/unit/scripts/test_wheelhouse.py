"""What the wheelhouse and the installer refuse, before they change anything."""

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
JETSON = ["--python", "3.10", "--arch", "aarch64", "--jetpack", "6"]


def refusal(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python", "3.9", "--arch", "aarch64", "--jetpack", "6", "x"], "--python 3.10 to 3.13"),
        (["--python", "3.10", "--arch", "armv7", "--jetpack", "6", "x"], "--arch aarch64 or x86_64"),
        (["--python", "3.10", "--arch", "aarch64", "--jetpack", "5", "x"], "--jetpack 6 or 7"),
        (["--python", "3.10", "--arch", "aarch64", "x"], "--jetpack 6 or 7"),
        (JETSON, "name the folder"),
        ([*JETSON, "--wheels", "x"], "unknown option --wheels"),
        ([*JETSON, "--bundle"], "--bundle needs a value"),
        ([*JETSON, "--bundle", "/nowhere", "/tmp/new-folder"], "no bundle.toml"),
        ([*JETSON, "x", "y"], "one folder"),
    ],
)
def test_what_cannot_be_filled_is_said(arguments, said):
    assert said in refusal(SCRIPTS / "wheelhouse", *arguments)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    assert "not empty" in refusal(SCRIPTS / "wheelhouse", *JETSON, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_the_repository_is_no_wheelhouse():
    assert "is no wheelhouse" in refusal(SCRIPTS / "install")
