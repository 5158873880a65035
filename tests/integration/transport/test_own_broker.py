"""`lineside broker`: the managed broker's configuration in a process that outlives the daemon."""

import json
import signal
import subprocess

import pytest
from tests.support.daemon import LINESIDE, Daemon, lineside

REPORT = {"dev": {"id": "L1/CD-07"}, "alarm": {"code": "F012"}}


@pytest.fixture
def plant(tmp_path):
    """A daemon that uses a broker beside it."""
    daemon = Daemon(tmp_path / "plant", tmp_path, mqtt={"broker": "external"}, diagnosis={"mode": "rules"})
    daemon.import_demo()
    command = [LINESIDE, "broker", "--config", daemon.config, "--directory", tmp_path / "plant" / "broker"]
    broker = subprocess.Popen(command, stderr=subprocess.PIPE)
    yield daemon
    daemon.end()
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    broker.stderr.close()


def test_what_devices_say_while_the_daemon_is_away_is_kept(plant):
    plant.start()
    assert plant.ask(REPORT)["status"] == "ok"
    assert plant.stop() == 0
    with plant.subscribe("lineside/v1/diagnosis/L1/CD-07") as answers:
        plant.publish(REPORT | {"request_id": "while-away"})
        plant.start()
        assert json.loads(answers.wait()[0])["status"] == "ok"


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    done = lineside("broker", "--directory", tmp_path / "file" / "broker")
    assert done.returncode == 1
    assert str(tmp_path / "file" / "broker") in done.stderr.decode()
