from pathlib import Path

import pytest

from lineside.config import (
    Config,
    ConfigError,
    DiagnosisConfig,
    default_state_dir,
    host_and_port,
    load_config,
)


def load(tmp_path, text):
    file = tmp_path / "lineside.toml"
    file.write_text(text, "utf-8")
    return load_config(file)


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load(tmp_path, "") == Config()


def test_values_are_read(tmp_path):
    config = load(tmp_path, 'state_dir = "/s"\n[grpc]\nport = 6000\n[mqtt]\nbroker = "off"\n')
    assert (config.grpc.port, config.mqtt.broker) == (6000, "off")
    assert config.journal_path == Path("/s/journal.db")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "colour"),
        ("[grpc]\nprot = 1", "prot"),
        ("[grpc]\nport = 70000", r"\$.grpc.port"),
        ("[grpc]\nport = '50051'", r"\$.grpc.port"),
        ("[engine]\nslots = 0", r"\$.engine.slots"),
        ("[engine]\nkept_prefixes = 65", r"\$.engine.kept_prefixes"),
        ("[engine]\nkept_entries = 1025", r"\$.engine.kept_entries"),
        ("[engine]\nkept_entries = -1", r"\$.engine.kept_entries"),
        ("[mqtt]\nbroker = 'both'", r"\$.mqtt.broker"),
        ("[mqtt]\npower = true", "needs interface, .* every user of this machine"),
        ("[mqtt]\npower = true\nbroker = 'external'", "needs user and password_file, or cert_file"),
        ("[plant]\nlocale = 'xx'", r"\$.plant.locale"),
        ("[diagnosis]\nmode = 'guess'", r"\$.diagnosis.mode"),
        ("[power]\nlimit_w = -1", r"\$.power.limit_w"),
        ("[power]\nlimit = 15", "limit"),
        ("[[power.schedule]]\nname = 'n'\nbegin = '25:00'\nend = '06:00'\nlimit_w = 7", "begin"),
        ("[telemetry]\nmetrics = '0.0.0.0:9464'", r"metrics_on_network .*\$.telemetry"),
        ("[telemetry]\nmetrics = '[::]:9464'", "metrics_on_network"),
        ("[telemetry]\nmetrics = '9464'", "no port"),
        ("[telemetry]\nmetrics = '127.0.0.1:70000'", "no port"),
        ("[telemetry]\nmetrics = 'plant.example:9464'", "no IP address"),
        ("[telemetry]\nmetrics = '::1:9464'", "brackets"),
        ("[security]\nx = 1", "x"),
        ("[security]\noperators = ['']", r"\$.security.operators"),
        (f"[security]\noperators = {['a'] * 257}", r"\$.security.operators"),
        ("[grpc", "correct the file"),
    ],
)
def test_a_bad_value_or_an_unknown_key_is_named(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_the_state_directory_is_systemds_where_it_gives_one(monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert default_state_dir() == Path("/var/lib/a")


def test_a_user_has_a_state_directory_of_their_own(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/u/.state")
    assert default_state_dir() == Path("/home/u/.state/lineside")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/lineside")


def test_a_configured_path_wins_over_the_state_directory(tmp_path):
    config = load(tmp_path, 'state_dir = "/s"\n[bundle]\npath = "/b"\n')
    assert config.bundle_path == Path("/b")


def test_a_calibration_is_the_configured_one_or_the_state_directorys_where_there_is_one(tmp_path):
    config = Config(state_dir=str(tmp_path))
    assert config.calibration_path is None
    (tmp_path / "calibration.toml").touch()
    assert config.calibration_path == tmp_path / "calibration.toml"
    named = Config(diagnosis=DiagnosisConfig(calibration="/absent/c.toml"))
    assert named.calibration_path == Path("/absent/c.toml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("metrics = '127.0.0.1:9464'", ("127.0.0.1", 9464)),
        ("metrics = '[::1]:0'", ("::1", 0)),
        ("metrics = 'localhost:9464'", ("localhost", 9464)),
        ("metrics = '192.168.10.2:9464'\nmetrics_on_network = true", ("192.168.10.2", 9464)),
    ],
)
def test_metrics_are_served_on_loopback_or_where_the_network_is_meant(tmp_path, text, place):
    assert host_and_port(load(tmp_path, f"[telemetry]\n{text}").telemetry.metrics) == place
