"""`lineside broker`: the managed broker's configuration in a process that outlives the daemon."""

import json
import signal
import subprocess
import time

import pytest
from tests.support.daemon import LINESIDE, Daemon, lineside
from tests.support.ports import free_port

from lineside.security import authority
from lineside.security.files import CertificateFiles
from lineside.security.revocation import create_list

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


def test_it_listens_on_the_interface_with_certificates_of_elsewhere(tmp_path):
    files = CertificateFiles(tmp_path / "credentials")
    authority.create_authority(files)
    create_list(files)
    authority.issue_server(files, ["127.0.0.1"])
    certificate, key = authority.issue_client(files, "L1/CD-07")
    port = free_port()
    mqtt = {"broker": "external", "interface": "lo", "interface_port": port}
    daemon = Daemon(tmp_path / "plant", tmp_path, mqtt=mqtt)
    arguments = ["--config", daemon.config, "--directory", tmp_path / "plant" / "broker"]
    done = lineside("broker", *arguments)
    assert done.returncode == 1
    assert b"server.pem" in done.stderr
    assert b"[security] certs_dir" in done.stderr
    publish = [
        "mosquitto_pub",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "--cafile",
        files.ca,
        "--cert",
        certificate,
    ]
    publish += ["--key", key, "-q", "1", "-t", "lineside/v1/fault/L1/CD-07", "-m", "x"]
    command = [LINESIDE, "broker", *arguments, "--certs", files.directory]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as broker:
        end_s = time.monotonic() + 10
        while (status := subprocess.run(publish, stderr=subprocess.DEVNULL, check=False).returncode) != 0:
            assert broker.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.1)
        broker.terminate()
    assert status == 0


def test_with_power_it_knows_the_daemon_by_its_password_and_nobody_else_on_loopback(tmp_path):
    files = CertificateFiles(tmp_path / "credentials")
    authority.create_authority(files)
    create_list(files)
    authority.issue_server(files, ["127.0.0.1"])
    port = free_port()
    secret = tmp_path / "mqtt-password"
    mqtt = {"broker": "external", "interface": "lo", "interface_port": port}
    mqtt |= {"power": True, "user": "lineside", "password_file": str(secret)}
    daemon = Daemon(
        tmp_path / "plant",
        tmp_path,
        mqtt=mqtt,
        diagnosis={"mode": "rules"},
        security={"certs_dir": str(files.directory)},
    )
    arguments = ["--config", daemon.config, "--directory", tmp_path / "plant" / "broker"]
    done = lineside("broker", *arguments)
    assert done.returncode == 1
    assert b"[mqtt] password_file" in done.stderr
    (tmp_path / "copy").write_text("correct horse\n")
    secret.write_text("correct horse\n")
    command = [LINESIDE, "broker", *arguments, "--password-file", tmp_path / "copy"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as broker:
        daemon.start()
        local = ["mosquitto_pub", "-V", "5", "-p", str(daemon.mqtt_port), "-q", "1", "-m", "{}", "-t"]
        said = subprocess.run([*local, "lineside/v1/power/set/lineside"], capture_output=True, check=False)
        assert b"Not authorized" in said.stderr
        assert "mqtt_power_not_listened" not in daemon.status().counters
        assert daemon.ask(REPORT)["status"] == "abstain"
        daemon.end()
        broker.terminate()
