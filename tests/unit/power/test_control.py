import os
import tempfile
from pathlib import Path

import pytest

from lineside.cli import main
from lineside.config import PowerConfig
from lineside.power.control import is_operator, start_control
from lineside.power.helper_client import RefusedError, ask
from lineside.power.settings import Change, Settings

NOBODY = 65534


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory() as path:  # a socket's path may not be long
        yield Path(path)


@pytest.fixture
def settings(directory):
    return Settings(PowerConfig(limit_w=15.0), directory / "power-setting.json")


@pytest.fixture
def control(settings, directory):
    control = start_control(settings, directory / "c.sock", ())
    yield control
    control.stop()


def test_an_operator_sets_the_limit_and_it_outlives_the_daemon(control, settings):
    assert ask(str(control.path), {"limit_w": 9.5}) == "limit 9.5 W, from 85 C on less"
    assert settings.wish().limit_w == 9.5
    assert settings.wish().source.startswith("operator: ")
    again = Settings(settings.config, settings.path)
    assert again.wish() == settings.wish()
    ask(str(control.path), {"temperature_max_c": 70})
    assert (settings.wish().limit_w, settings.wish().temperature_max_c) == (9.5, 70)
    ask(str(control.path), {"reset": True})
    assert settings.wish().limit_w == 15.0
    assert Settings(settings.config, settings.path).wish().source == "configuration"


@pytest.mark.parametrize(
    "request_",
    [{"limit_w": -1}, {"limit_w": "9"}, {"limit_w": 1e9}, {"temperature_max_c": 200}, {"watts": 9}],
)
def test_a_bad_value_is_refused_with_its_name(control, settings, request_):
    with pytest.raises(OSError, match=f"refused: .*{next(iter(request_))}"):
        ask(str(control.path), request_)
    assert settings.wish().limit_w == 15.0


def test_the_name_is_the_kernels_not_the_peers(control, settings):
    ask(str(control.path), {"limit_w": 9, "by": "somebody else"})
    assert "somebody else" not in settings.wish().source


def test_who_is_no_operator_is_refused(control, settings, monkeypatch):
    monkeypatch.setattr("lineside.power.control.is_operator", lambda *_: False)
    with pytest.raises(RefusedError, match=f"refused: user {os.getuid()} may not ask"):
        ask(str(control.path), {"limit_w": 9})
    assert settings.wish().limit_w == 15.0


def test_the_command_says_why_it_was_refused_and_whether_anybody_was_there(directory, capsys):
    config = directory / "lineside.toml"
    config.write_text(f'state_dir = "{directory}"\n')
    command = ["power", "set", "--config", str(config), "--temperature-max-c", "200"]
    settings = Settings(PowerConfig(), directory / "power-setting.json")
    control = start_control(settings, directory / "power-control.sock", ())
    assert main(command) == 1
    refused = capsys.readouterr().err
    assert "refused: " in refused and "is the daemon running" not in refused
    control.stop()
    assert main(command) == 1
    assert "is the daemon running" in capsys.readouterr().err


def test_operators_are_root_the_daemons_user_and_who_is_named():
    assert is_operator(0, ())
    assert is_operator(os.geteuid(), ())
    assert not is_operator(NOBODY, ())
    assert is_operator(NOBODY, ("nobody",))
    assert is_operator(NOBODY, ("@nogroup",))
    assert not is_operator(NOBODY, ("nogroup", "@nobody"))
    assert not is_operator(4_000_000, ("nobody",))


def test_a_file_that_cannot_be_read_is_the_configuration(settings):
    settings.path.write_bytes(b"{")
    assert Settings(settings.config, settings.path).wish().limit_w == 15.0
    assert Settings(settings.config, settings.path).change(Change(limit_w=3.0))


def test_where_there_can_be_no_socket_the_daemon_does_without(settings, directory):
    assert start_control(settings, directory / ("x" * 200), ()) is None
