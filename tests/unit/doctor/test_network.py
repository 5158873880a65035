"""The network's side with a real authority: what would keep clients out, or let revoked ones in."""

import datetime
import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tests.support import boards

from lineside.config import Config, GrpcConfig, MqttConfig, SecurityConfig
from lineside.doctor import certificates, network, permissions
from lineside.doctor.machine import Machine
from lineside.security import files as security_files
from lineside.security.authority import create_authority, issue_client, issue_server, load_authority
from lineside.security.files import CertificateFiles
from lineside.security.revocation import create_list, revoke

NOW = datetime.datetime(2026, 9, 21, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
UID = 4321
UNITS = Path(__file__).parents[3] / "systemd"
LAN = MqttConfig(broker="external", interface="eth1")
MANAGED = MqttConfig(interface="eth1")
OFF = MqttConfig(broker="off")
DROPIN = "etc/systemd/system/lineside-broker.service.d/lan.conf"


@pytest.fixture
def files(tmp_path):
    made = CertificateFiles(tmp_path / "certs")
    create_authority(made)
    create_list(made)
    issue_server(made, ["press.plant"])
    issue_client(made, "anna")
    return made


@pytest.fixture
def root(tmp_path, files):
    """A machine whose broker's unit has all that its drop-in names."""
    place = tmp_path / "root"
    boards.write(place / "etc/systemd/system/lineside-broker.service", "")
    boards.write(place / DROPIN, f"[Service]\nLoadCredential=crl.pem:{files.revoked}\n")
    boards.write(place / "etc/passwd", f"lineside:x:{UID}:998::/:/x\n")
    return place


def machine(files, root, mqtt=LAN, grpc=False):
    security = SecurityConfig(certs_dir=str(files.directory))
    config = Config(mqtt=mqtt, grpc=GrpcConfig(tls=grpc), security=security)
    return Machine(config, root, NOW.timestamp())


def found(files, root, **config):
    return {each.name: each for each in network.look(machine(files, root, **config))}


def states(files, root, **config):
    return {name: each.state for name, each in found(files, root, **config).items()}


def give_away(files, uid=UID):
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    for path in (files.directory, *files.directory.iterdir()):
        os.chown(path, uid, 0)


def sign(files, begin, end):
    authority, key = load_authority(files)
    builder = x509.CertificateRevocationListBuilder(authority.subject, begin, end)
    files.revoked.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_a_sound_one(files, root):
    revoke(files, "anna")
    sound = found(files, root)
    assert {name: each.state for name, each in sound.items()} == {
        "certificates.revoked": "ok",
        "broker.unit": "ok",
    }
    assert "1 revoked" in sound["certificates.revoked"].seen
    assert sound["certificates.revoked"].values["revoked_days_left"] > 4000


def test_what_is_closed_to_the_network_needs_nothing(files, root):
    assert states(files, root, mqtt=MqttConfig()) == {"certificates.revoked": "not_applicable"}
    assert states(files, root, mqtt=MqttConfig(broker="off", interface="eth1")) == {
        "certificates.revoked": "not_applicable"
    }


def test_the_brokers_certificates_are_looked_at_and_its_key(files, root):
    here = machine(files, root)
    kinds = ("ca", "certificate", "key", "chain")
    assert {each.name for each in certificates.look(here)} == {
        *(f"certificates.broker_{kind}" for kind in kinds),
        "certificates.next",
    }
    files.server_key.chmod(0o644)
    secrets = {each.name: each.state for each in permissions.look(here)}
    assert (secrets["permissions.server_key"], secrets["permissions.ca_key"]) == ("warning", "ok")
    files.server.unlink()
    states = {each.name: each.state for each in certificates.look(here)}
    assert states["certificates.broker_certificate"] == "problem"


@pytest.mark.parametrize("mqtt", [LAN, MANAGED, OFF])
def test_without_a_list_nothing_starts(files, root, mqtt):
    files.revoked.unlink()
    lost = found(files, root, mqtt=mqtt, grpc=True)["certificates.revoked"]
    assert (lost.state, "is not there" in lost.seen) == ("problem", True)
    assert "lineside certs init --list" in lost.todo


@pytest.mark.parametrize(
    ("days", "state", "told"),
    [
        ((-1, 30), "ok", "30 days left"),
        ((-1, 29), "warning", "29 days left"),
        ((-2, -1), "problem", "refuses every client"),
        ((1, 2), "problem", "begins on"),
    ],
)
def test_a_list_that_is_not_in_force_keeps_everybody_out(files, root, days, state, told):
    sign(files, *(NOW + day * DAY for day in days))
    listed = found(files, root)["certificates.revoked"]
    assert (listed.state, told in listed.seen, bool(listed.todo)) == (state, True, state != "ok")


@pytest.mark.parametrize("content", [b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_list_that_is_none(files, root, content):
    files.revoked.write_bytes(content)
    listed = found(files, root)["certificates.revoked"]
    assert (listed.state, bool(listed.todo)) == ("problem", True)


def test_a_list_of_another_authority(files, root, tmp_path):
    other = CertificateFiles(tmp_path / "other")
    create_authority(other)
    create_list(other)
    shutil.copy(other.revoked, files.revoked)
    assert "is not of the authority" in found(files, root)["certificates.revoked"].seen


def test_what_this_user_may_not_see_is_unknown(files, root, monkeypatch):
    def closed(*_):
        raise PermissionError(13, "Permission denied", "certs")

    monkeypatch.setattr(network, "_is_there", closed)
    monkeypatch.setattr(security_files, "read_plain", closed)
    assert states(files, root) == {"certificates.revoked": "unknown", "broker.unit": "unknown"}


def test_the_broker_that_the_daemon_starts_reads_them_as_its_user(files, root):
    give_away(files)
    assert states(files, root, mqtt=MANAGED)["certificates.readable"] == "ok"
    os.chown(files.revoked, 0, 0)
    closed = found(files, root, mqtt=MANAGED)["certificates.readable"]
    assert (closed.state, "may not read crl.pem" in closed.seen) == ("problem", True)
    assert closed.todo == f"chown -R lineside:lineside {files.directory}"
    files.revoked.chmod(0o644)
    assert states(files, root, mqtt=MANAGED)["certificates.readable"] == "ok"
    os.chown(files.server_key, 0, 998)
    files.server_key.chmod(0o640)
    assert states(files, root, mqtt=MANAGED)["certificates.readable"] == "ok", "given to a group"
    give_away(files, 0)
    assert "may not read certs" in found(files, root, mqtt=OFF, grpc=True)["certificates.readable"].seen


def test_without_the_daemons_user_nobody_knows_who_reads(files, root):
    (root / "etc/passwd").unlink()
    assert "certificates.readable" not in states(files, root, mqtt=MANAGED)


def test_a_unit_that_cannot_start_for_want_of_the_list(files, root):
    files.revoked.unlink()
    unit = found(files, root)["broker.unit"]
    assert (unit.state, f"{files.revoked}, not there" in unit.seen) == ("problem", True)


def test_a_credential_with_something_in_its_place_may_be_missing(files, root):
    boards.write(root / DROPIN, "LoadCredential=mqtt-password:/nowhere\nSetCredential=mqtt-password:\\n\n")
    assert states(files, root)["broker.unit"] == "problem", "no other is named"
    boards.write(root / DROPIN.replace("lan", "more"), f"LoadCredential=ca.pem:{files.ca}\n")
    assert states(files, root)["broker.unit"] == "ok"


def test_without_a_drop_in_the_unit_keeps_to_loopback(files, root):
    (root / DROPIN).unlink()
    assert "no drop-in" in found(files, root)["broker.unit"].seen
    (root / "etc/systemd/system/lineside-broker.service").unlink()
    assert "broker.unit" not in states(files, root), "a broker of somebody's own"


def test_the_drop_in_that_is_shipped_names_what_is_found(files, root):
    text = (UNITS / "lan.conf").read_text().replace("/var/lib/lineside/certs", str(files.directory))
    boards.write(root / DROPIN, text)
    assert "finds the 4 files" in found(files, root)["broker.unit"].seen
