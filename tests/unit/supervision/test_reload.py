"""A reload takes what can change, names what cannot, and never ends the daemon."""

import logging

import msgspec
import pytest
from tests.support.manager import listening

from lineside.config import Config, ConfigError, EngineConfig, MqttConfig, TelemetryConfig
from lineside.supervision.notify import Notifier
from lineside.supervision.reload import differences, reload


@pytest.fixture(autouse=True)
def root_level():
    """Put back what a test changes."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def test_differences_are_keys_of_sections():
    new = Config(state_dir="/x", engine=EngineConfig(slots=2), mqtt=MqttConfig(reply_topics=("a",)))
    assert differences(Config(), new) == {"state_dir", "engine.slots", "mqtt.reply_topics"}
    assert differences(new, new) == set()


def test_the_log_level_changes_and_the_rest_is_named(tmp_path, caplog):
    new = Config(engine=EngineConfig(slots=2), telemetry=TelemetryConfig("warning"))
    with listening(tmp_path) as manager:
        reload(Config(), lambda: new, Notifier(manager.address))
        assert set(manager.next()) == {"RELOADING", "MONOTONIC_USEC"}
        assert manager.next() == {"READY": "1"}
    assert logging.getLogger().level == logging.WARNING
    assert [record.keys for record in caplog.records if hasattr(record, "keys")] == ["engine.slots"]


def test_what_changed_before_is_compared_with_what_runs(caplog):
    started = Config(telemetry=TelemetryConfig("error"))
    reload(started, lambda: msgspec.structs.replace(started, telemetry=TelemetryConfig("info")), Notifier())
    assert "next start" not in caplog.text


def test_a_bad_file_changes_nothing_and_the_manager_hears_that_it_goes_on(tmp_path, caplog):
    def bad():
        raise ConfigError("read configuration", "x.toml: no", "correct it")

    level = logging.getLogger().level
    with listening(tmp_path) as manager:
        reload(Config(), bad, Notifier(manager.address))
        assert [set(manager.next()), set(manager.next())] == [{"RELOADING", "MONOTONIC_USEC"}, {"READY"}]
    assert "nothing is reloaded" in caplog.text
    assert logging.getLogger().level == level
