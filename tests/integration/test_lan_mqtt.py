"""MQTT from another machine of the LAN: each device as itself, whoever shows no certificate not at all."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import time

import pytest
from tests.support.daemon import Daemon, lineside
from tests.support.lan import BOARD, lan

from lineside.security import authority
from lineside.security.files import CertificateFiles
from lineside.security.revocation import create_list

REPORT = '{"alarm": {"code": "F012"}}'
MAPPINGS = """\
[[mapping]]
topic = "plant/+/+/alarm"
device = "{2}/{3}"
gateways = ["neuron-1"]
[mapping.report]
alarm.code = "/code"
[[mapping]]
topic = "old gateway/+"
gateways = ["一号网关"]
[mapping.report]
alarm.code = "/code"
reply_to = { const = "lineside/v1/diagnosis/一号网关" }
"""
GATEWAY, OLD_GATEWAY = "neuron-1", "一号网关"
SET, RECEIPT = "lineside/v1/power/set/lineside", "lineside/v1/receipt/power/lineside"
ONE, OTHER, CHINESE = "L1/CD-07", "L1/CD-08", "一线/输送机"


class Plant:
    """A daemon whose broker listens on the LAN, and the LAN's clients."""

    def __init__(self, directory, network):
        self.network = network
        mqtt = {"interface": network.interface, "forms": ["brief", "text", "alarm"], "power": True}
        self.daemon = Daemon(
            directory,
            directory,
            mqtt=mqtt | {"mappings": ["gateways.toml"]},
            diagnosis={"mode": "rules"},
            security={"operators": ["anna"]},
        )
        (directory / "gateways.toml").write_text(MAPPINGS)
        self.files = CertificateFiles(directory / "state" / "certs")
        self.daemon.import_demo()
        authority.create_authority(self.files)
        create_list(self.files)
        authority.issue_server(self.files, [BOARD])
        for name in (ONE, OTHER, CHINESE, "anna", GATEWAY, OLD_GATEWAY):
            authority.issue_client(self.files, name)

    def client(self, program, name, *arguments, files=None):
        """One of mosquitto's, with that client's certificate."""
        certificate, key = (files or self.files).client(name)
        shown = ("--cafile", self.files.ca, "--cert", certificate, "--key", key)
        return self.network.run(f"mosquitto_{program}", "-h", BOARD, "-p", 8883, *shown, *arguments)

    def publish(self, name, topic, *arguments):
        """What mosquitto_pub says where the broker refuses it."""
        return self.client("pub", name, "-V", "5", "-q", "1", "-t", topic, "-m", REPORT, *arguments).stderr

    def ask(self, name, report=REPORT, topic=""):
        """Its own report and the diagnosis of it, over one connection."""
        topics = ("-t", topic or f"lineside/v1/fault/{name}", "-e", f"lineside/v1/diagnosis/{name}")
        return self.request(name, topics, report)

    def request(self, name, topics, message):
        """What comes back."""
        done = self.client("rr", name, "-V", "5", "-W", "20", *topics, "-m", message)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def count(self, name):
        return self.daemon.status().counters.get(name, 0)


def until(condition, seconds=15):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it does not come"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with lan() as network:
        made = Plant(tmp_path_factory.mktemp("lan-mqtt") / "plant", network)
        made.daemon.start()
        yield made
        made.daemon.end()


@pytest.mark.parametrize("name", [ONE, CHINESE])
def test_a_device_gets_its_own_diagnosis(plant, name):
    answer = plant.ask(name)
    assert (answer["status"], answer["dev"]["id"]) == ("ok", name)


def test_it_is_no_other_device(plant):
    before = plant.count("mqtt_reports"), plant.count("mqtt_feedback")
    topics = [
        f"fault/{OTHER}",
        f"feedback/{OTHER}",
        f"fault/{ONE}/x",
        "fault/L1",
        f"diagnosis/{ONE}",
        "power/set/x",
    ]
    for topic in topics:
        assert "Not authorized" in plant.publish(ONE, f"lineside/v1/{topic}"), topic
    assert (plant.count("mqtt_reports"), plant.count("mqtt_feedback")) == before
    assert plant.ask(ONE, json.dumps({"dev": {"id": OTHER}, "alarm": {"code": "F012"}}))["status"] == "error"


def test_it_hears_only_what_is_its_own(plant):
    listening = ("-t", "#", "-t", "$share/g/lineside/v1/#", "-q", "1", "-c", "-i", "x", "-F", "%t")
    assert plant.client("sub", ONE, *listening, "-E").returncode == 0
    with plant.daemon.subscribe(f"lineside/v1/+/{ONE}/#", 4) as own:  # the broker has then had all of them
        plant.ask(OTHER)
        plant.daemon.publish(REPORT.encode(), device=ONE)
        own.wait()
    heard = set(plant.client("sub", ONE, *listening, "-W", "1").stdout.split())
    own_topics = {f"lineside/v1/{form}/{ONE}" for form in ("diagnosis", "brief", "text")}
    assert own_topics <= heard
    assert heard - own_topics == {f"lineside/v1/diagnosis/{ONE}/F012"}


def test_it_takes_no_session_of_another_by_its_client_id(plant):
    before = plant.count("mqtt_connections")
    assert plant.publish(ONE, f"lineside/v1/fault/{ONE}", "-i", "lineside") == ""
    assert plant.count("mqtt_connections") == before
    assert plant.daemon.status().broker_connected


def test_an_answer_goes_to_no_other_device(plant):
    before = plant.count("mqtt_reply_topics_refused")
    wish = ("-D", "publish", "response-topic", f"lineside/v1/diagnosis/{OTHER}")
    with plant.daemon.subscribe(f"lineside/v1/diagnosis/{ONE}") as answers:
        assert plant.publish(ONE, f"lineside/v1/fault/{ONE}", *wish) == ""
        assert json.loads(answers.wait()[0])["dev"]["id"] == ONE
    assert plant.count("mqtt_reply_topics_refused") == before + 1


def test_a_gateway_publishes_what_its_mapping_reads_and_hears_the_answer(plant):
    answer = plant.ask(GATEWAY, '{"code": "F012"}', "plant/L1/CD-09/alarm")
    assert (answer["status"], answer["dev"]["id"]) == ("ok", "L1/CD-09")
    answer = plant.ask(GATEWAY, '{"kode": "F012"}', "plant/L1/CD-09/alarm")
    assert (answer["status"], answer["reason"], answer["field"]) == ("error", "invalid", "alarm.code")
    before = plant.count("mqtt_reports")
    for topic in (
        f"lineside/v1/fault/{ONE}",
        "plant/L1/alarm",
        "old gateway/7",
        "plant/L1/CD-09/alarm/x",
        SET,
    ):
        assert "Not authorized" in plant.publish(GATEWAY, topic), topic
    for name in (ONE, "anna", OLD_GATEWAY):
        assert "Not authorized" in plant.publish(name, "plant/L1/CD-09/alarm"), name
    assert plant.count("mqtt_reports") == before


def test_a_gateway_of_an_older_protocol_has_its_answers_sent_by_its_mapping(plant):
    topics = ("-t", "old gateway/M7", "-e", f"lineside/v1/diagnosis/{OLD_GATEWAY}")
    asked = plant.client("rr", OLD_GATEWAY, "-V", "311", "-W", "20", *topics, "-m", '{"code": "F012"}')
    assert json.loads(asked.stdout)["dev"]["id"] == "M7", asked.stderr


@pytest.mark.parametrize("topic", [f"lineside/v1/diagnosis/{OTHER}", f"lineside/v1/diagnosis/{OLD_GATEWAY}"])
def test_a_gateway_has_its_answers_sent_to_nobody_else(plant, topic):
    before = plant.count("mqtt_reply_topics_refused")
    with plant.daemon.subscribe("lineside/v1/diagnosis/L1/CD-09") as answers:
        wish = ("-D", "publish", "response-topic", topic)
        assert plant.publish(GATEWAY, "plant/L1/CD-09/alarm", *wish) == ""
        answers.wait()
    assert plant.count("mqtt_reply_topics_refused") == before + 1


def test_an_operator_sets_the_power_and_nobody_else_does(plant):
    receipt = plant.request("anna", ("-t", SET, "-e", RECEIPT), '{"limit_w": 9.5, "id": "r1"}')
    assert (receipt["id"], receipt["status"], receipt["limit_w"]) == ("r1", "ok", 9.5)
    receipt = plant.request("anna", ("-t", SET, "-e", RECEIPT), '{"limit_w": -1}')
    assert (receipt["status"], receipt["field"]) == ("error", "limit_w")
    retained = ("-t", "lineside/v1/power/lineside", "-C", "1", "-W", "5")
    until(lambda: json.loads(plant.client("sub", "anna", *retained).stdout)["limit_w"] == 9.5)
    for topic in (SET, RECEIPT, "lineside/v1/power/lineside"):
        assert "Not authorized" in plant.publish(ONE, topic), topic
        local = ["mosquitto_pub", "-V", "5", "-p", plant.daemon.mqtt_port, "-q", "1", "-t", topic, "-m", "{}"]
        for name in ([], ["-u", "lineside"], ["-u", "lineside", "-P", "x"]):
            said = subprocess.run([*map(str, local), *name], capture_output=True, text=True, check=False)
            assert "Not authorized" in said.stderr, (topic, name)
    secret = plant.daemon.directory / "state/mosquitto/daemon-password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert plant.count("power_settings") == 1
    plant.request("anna", ("-t", SET, "-e", RECEIPT), '{"clear": true}')


def test_an_operator_reads_the_status_and_has_the_power_topics(plant):
    reading = ("-t", "lineside/v1/status/#", "-C", "1", "-W", "2")
    assert json.loads(plant.client("sub", "anna", *reading).stdout)["status"] == "online"
    assert plant.client("sub", ONE, *reading).stdout == ""
    assert plant.publish("anna", "lineside/v1/power/set/x") == ""
    assert "Not authorized" in plant.publish("anna", "lineside/v1/power/x"), (
        "the state is the daemon's to tell"
    )
    assert "Not authorized" in plant.publish("anna", f"lineside/v1/fault/{ONE}")


def test_who_shows_no_certificate_of_the_plant_gets_nowhere(plant, tmp_path):
    other = CertificateFiles(tmp_path)
    authority.create_authority(other)
    authority.issue_client(other, ONE)
    topic = f"lineside/v1/fault/{ONE}"
    message = ("-q", "1", "-t", topic, "-m", REPORT)
    before = plant.count("mqtt_reports")
    assert plant.client("pub", ONE, *message, files=other).returncode
    for port, *shown in ((8883, "--cafile", plant.files.ca), (8883,), (plant.daemon.mqtt_port,)):
        done = plant.network.run("mosquitto_pub", "-h", BOARD, "-p", port, *shown, *message)
        assert done.returncode, (port, shown)
    assert plant.count("mqtt_reports") == before


def test_who_is_revoked_gets_nowhere_and_nobodys_queue_is_lost(plant):
    """Its connection is ended, and what waits for another device is still there for it."""
    authority.issue_client(plant.files, "lost")
    kept = CertificateFiles(plant.daemon.directory / "kept")
    shutil.copytree(plant.files.clients, kept.clients)
    waiting = ("-t", f"lineside/v1/diagnosis/{OTHER}", "-q", "1", "-c", "-i", "x", "-C", "1", "-W", "5")
    assert plant.client("sub", OTHER, *waiting, "-E").returncode == 0
    plant.daemon.publish(REPORT.encode(), device=OTHER)
    certificate, key = kept.client("lost")
    shown = ("--cafile", plant.files.ca, "--cert", certificate, "--key", key)
    with plant.network.start("mosquitto_sub", "-h", BOARD, "-p", 8883, *shown, "-t", "#", "-d") as held:
        assert any(b"SUBACK" in line for line in held.stdout)
        assert lineside("certs", "revoke", "lost", "--config", plant.daemon.config).returncode == 0
        connections = plant.count("mqtt_connections")
        plant.daemon.process.send_signal(signal.SIGHUP)
        # mosquitto_sub tries to come back, and is not let in.
        assert any(b"CONNECT" in line or b"rror" in line for line in held.stdout)
        until(
            lambda: plant.count("mqtt_connections") > connections and plant.daemon.status().broker_connected
        )
        held.kill()
        assert b"CONNACK" not in held.stdout.read()
    assert plant.client("pub", "lost", "-t", "x", "-m", "x", files=kept).returncode
    answer = plant.client("sub", OTHER, *waiting)
    assert json.loads(answer.stdout)["dev"]["id"] == OTHER, answer.stderr
    assert plant.ask(ONE)["status"] == "ok"
    authority.issue_client(plant.files, "lost")
    assert plant.publish("lost", "lineside/v1/fault/lost") == "", "another one under its name"


def test_a_reload_without_news_leaves_the_broker_alone_and_a_bad_list_or_none_is_not_taken(plant):
    def reloaded(times):
        plant.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: plant.daemon.log.read_text().count(" reloaded") == times)
        return plant.count("mqtt_connections")

    before, times = plant.count("mqtt_connections"), plant.daemon.log.read_text().count(" reloaded")
    assert reloaded(times + 1) == before
    good = plant.files.revoked.read_bytes()
    plant.files.revoked.write_bytes(b"junk")
    assert reloaded(times + 2) == before
    until(lambda: "goes on with what it has read" in plant.daemon.log.read_text())
    plant.files.revoked.unlink()
    assert reloaded(times + 3) == before
    until(lambda: "crl.pem is not there" in plant.daemon.log.read_text())
    plant.files.revoked.write_bytes(good)
    assert plant.ask(ONE)["status"] == "ok"


@pytest.mark.parametrize(("version", "works"), [("-tls1_2", False), ("-tls1_3", True)])
def test_tls_1_3_is_the_least(plant, version, works):
    certificate, key = plant.files.client(ONE)
    shown = ("-CAfile", plant.files.ca, "-cert", certificate, "-key", key)
    said = plant.network.run("openssl", "s_client", "-connect", f"{BOARD}:8883", version, "-brief", *shown)
    assert ("Verification: OK" in said.stderr) is works, said.stderr
