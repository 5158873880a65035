"""From another machine of the LAN: with credentials all that a client needs, without them nothing."""

from __future__ import annotations

import datetime
import json
import queue
import shutil
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.daemon import LINESIDE, Daemon, lineside
from tests.support.lan import BOARD, lan

from lineside.open_inference import open_inference_pb2, open_inference_pb2_grpc
from lineside.security import authority
from lineside.security.files import CertificateFiles
from lineside.transport.grpc import client
from lineside.transport.grpc.tls import Identity
from lineside.v1 import admin_pb2, admin_pb2_grpc

REPORT = json.dumps({"dev": {"id": "L1/CD-07"}, "alarm": {"code": "F012"}}).encode()


class LanDaemon(Daemon):
    """Reached by its own client over TLS."""

    def __init__(self, *arguments, **sections):
        super().__init__(*arguments, **sections)
        self.files = CertificateFiles(self.directory / "state" / "certs")
        identity = Identity(self.files.ca, self.files.server, self.files.server_key)
        self.address = client.Secured(f"{BOARD}:{self.grpc_port}", identity)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """The LAN, and a daemon that serves it."""
    directory = tmp_path_factory.mktemp("lan") / "plant"
    with lan() as network:
        daemon = LanDaemon(
            directory,
            directory,
            grpc={"host": BOARD, "tls": True},
            diagnosis={"mode": "rules"},
            security={"operators": ["anna"]},
        )
        daemon.import_demo()
        for arguments in (["init"], ["server", BOARD], ["client", "L1/CD-07"], ["client", "anna"]):
            assert lineside("certs", *arguments, "--config", daemon.config).returncode == 0
        daemon.start()
        yield network, daemon
        daemon.end()


def diagnose(plant, *credentials):
    network, daemon = plant
    address = f"{BOARD}:{daemon.grpc_port}"
    command = [LINESIDE, "diagnose", "--json", "--timeout", "5", "--address", address, *credentials, "-"]
    return network.run(*command, stdin=REPORT)


def of(files, name):
    certificate, key = files.client(name)
    return "--ca", files.ca, "--cert", certificate, "--key", key


def test_a_client_with_a_certificate_gets_its_diagnosis(plant):
    done = diagnose(plant, *of(plant[1].files, "L1/CD-07"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "ok"


def test_a_client_with_a_certificate_gives_a_verdict(plant):
    network, daemon = plant
    answer = json.loads(diagnose(plant, *of(daemon.files, "L1/CD-07")).stdout)
    verdict = [answer["diagnosis_id"], "right", "--badge", "4711", "--role", "fitter"]
    place = ["--address", f"{BOARD}:{daemon.grpc_port}", *of(daemon.files, "L1/CD-07")]
    done = network.run(LINESIDE, "feedback", "add", *verdict, *place)
    assert done.returncode == 0, done.stderr
    assert b"right" in lineside("feedback", "list", "--config", daemon.config).stdout
    done = network.run(LINESIDE, "feedback", "add", *verdict, *place[2:4])
    assert "only some of --ca, --cert and --key" in done.stderr


def test_who_shows_none_gets_nowhere(plant):
    done = diagnose(plant)
    assert done.returncode == 1
    assert "--ca, --cert and --key" in done.stderr
    done = diagnose(plant, "--ca", plant[1].files.ca)
    assert "only some of --ca, --cert and --key" in done.stderr


def test_a_certificate_of_another_authority_gets_nowhere(plant, tmp_path):
    other = CertificateFiles(tmp_path)
    authority.create_authority(other)
    authority.issue_client(other, "anna")
    certificate, key = other.client("anna")
    done = diagnose(plant, "--ca", plant[1].files.ca, "--cert", certificate, "--key", key)
    assert done.returncode == 1, done.stdout
    assert "no daemon answers" in done.stderr


def test_an_expired_one_gets_nowhere(plant, tmp_path, monkeypatch):
    mine = CertificateFiles(tmp_path)
    shutil.copy(plant[1].files.ca, mine.ca)
    shutil.copy(plant[1].files.ca_key, mine.ca_key)
    monkeypatch.setattr(authority, "LIFE", datetime.timedelta(days=-1))
    authority.issue_client(mine, "anna")
    done = diagnose(plant, *of(mine, "anna"))
    assert done.returncode == 1, done.stdout
    assert "no daemon answers" in done.stderr


@pytest.mark.parametrize(("version", "works"), [("-tls1_2", False), ("-tls1_3", True)])
def test_tls_1_3_is_the_least(plant, version, works):
    certificate, key = plant[1].files.client("anna")
    address = f"{BOARD}:{plant[1].grpc_port}"
    command = ["openssl", "s_client", "-connect", address, version, "-alpn", "h2", "-brief"]
    said = plant[0].run(*command, "-CAfile", plant[1].files.ca, "-cert", certificate, "-key", key)
    assert ("Verification: OK" in said.stderr) is works, said.stderr


def test_a_renewed_certificate_serves_from_the_next_handshake_on(plant):
    before = plant[1].files.server.read_bytes()
    assert lineside("certs", "renew", "lineside", "--config", plant[1].config).returncode == 0
    assert plant[1].files.server.read_bytes() != before
    address = f"{BOARD}:{plant[1].grpc_port}"
    said = plant[0].run("openssl", "s_client", "-connect", address, "-showcerts", "-alpn", "h2")
    assert plant[1].files.server.read_text().split()[5] in said.stdout


def test_the_command_on_the_board_needs_no_more_than_the_configuration(plant):
    done = lineside("status", "--config", plant[1].config)
    assert done.returncode == 0, done.stderr


def set_power(plant, name, **values):
    """As who has that certificate; what then holds."""
    daemon = plant[1]
    place = client.Secured(daemon.address.address, Identity(daemon.files.ca, *daemon.files.client(name)))
    with client.open_channel(place) as channel:
        return admin_pb2_grpc.AdminServiceStub(channel).SetPower(
            admin_pb2.SetPowerRequest(**values), timeout=5
        )


def test_an_operators_certificate_sets_the_limit_and_anothers_does_not(plant):
    with pytest.raises(grpc.RpcError, match=r"grpc:L1/CD-07 has not .* \[security\] operators") as refused:
        set_power(plant, "L1/CD-07", limit_w=9)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert plant[1].status().power.limit_w == 0
    assert set_power(plant, "anna", limit_w=9.5, temperature_max_c=70) == admin_pb2.SetPowerResponse(
        limit_w=9.5, limit_source="operator: grpc:anna", temperature_max_c=70
    )
    end_s = time.monotonic() + 5
    while plant[1].status().power.limit_w != 9.5:
        assert time.monotonic() < end_s, "the governor takes it"
        time.sleep(0.05)
    assert set_power(plant, "anna", clear=True) == admin_pb2.SetPowerResponse(
        limit_source="configuration", temperature_max_c=85
    )


def test_a_revoked_certificate_gets_nowhere_not_even_over_an_open_connection(plant):
    daemon = plant[1]
    for arguments in (["client", "lost"], ["renew", "lost"]):
        assert lineside("certs", *arguments, "--config", daemon.config).returncode == 0
    place = client.Secured(daemon.address.address, Identity(daemon.files.ca, *daemon.files.client("lost")))
    kept = CertificateFiles(daemon.directory / "kept")
    shutil.copytree(daemon.files.clients, kept.clients)
    kept.ca.write_bytes(daemon.files.ca.read_bytes())
    with client.open_channel(place) as channel:
        infer = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        requests = queue.Queue()
        request = open_inference_pb2.ModelInferRequest(model_name="x")
        answers = infer.ModelStreamInfer(iter(requests.get, None), timeout=20)
        requests.put(request)
        assert "unknown model" in next(answers).error_message
        assert admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest()).version
        done = lineside("certs", "revoke", "lost", "--config", daemon.config)
        assert b"lost: 2 revoked" in done.stdout, done.stderr
        request.model_name = ""
        requests.put(request)
        assert "this certificate is revoked" in next(answers).error_message
        requests.put(None)
        for ask in (
            lambda: admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest()),
            lambda: health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()),
            lambda: next(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())),
            lambda: next(infer.ModelStreamInfer(iter([request]))),
            lambda: next(
                reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="")])
                )
            ),
        ):
            with pytest.raises(grpc.RpcError, match="this certificate is revoked") as refused:
                ask()
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert ("lineside-reason", "unauthenticated") in refused.value.trailing_metadata()
    done = diagnose(plant, *of(kept, "lost"))
    assert done.returncode == 1
    assert "unauthenticated: this certificate is revoked: ask for another" in done.stderr
    assert diagnose(plant, *of(daemon.files, "anna")).returncode == 0


def test_a_list_that_is_lost_lets_nobody_back_in(plant):
    daemon = plant[1]
    assert lineside("certs", "client", "gone", "--config", daemon.config).returncode == 0
    kept = CertificateFiles(daemon.directory / "kept-gone")
    shutil.copytree(daemon.files.clients, kept.clients)
    kept.ca.write_bytes(daemon.files.ca.read_bytes())
    assert lineside("certs", "revoke", "gone", "--config", daemon.config).returncode == 0
    assert "is revoked" in diagnose(plant, *of(kept, "gone")).stderr
    listed = daemon.files.revoked.read_bytes()
    daemon.files.revoked.unlink()
    try:
        assert "is revoked" in diagnose(plant, *of(kept, "gone")).stderr
        assert diagnose(plant, *of(daemon.files, "anna")).returncode == 0
        assert "the former revocation list holds on" in daemon.log.read_text()
    finally:
        daemon.files.revoked.write_bytes(listed)


def test_the_doctor_asks_the_daemon_and_looks_at_its_certificates(plant):
    def states():
        done = lineside("doctor", "--json", "--config", plant[1].config)
        return {each["name"]: each["state"] for each in json.loads(done.stdout)["findings"]}

    found = states()
    names = ("certificates.grpc_ca", "certificates.grpc_certificate", "certificates.grpc_key")
    names += ("certificates.grpc_chain", "permissions.server_key", "permissions.ca_key")
    assert [found[name] for name in (*names, "daemon.state", "ports.grpc")] == ["ok"] * 8
    key = plant[1].files.server_key
    key.chmod(0o644)
    key.rename(key.with_suffix(".away"))
    found = states()
    key.with_suffix(".away").rename(key)
    assert found["certificates.grpc_key"] == found["permissions.server_key"] == "problem"
    assert found["daemon.state"] == found["ports.grpc"] == "unknown", "the daemon that runs is not denied"
    assert states()["permissions.server_key"] == "warning"
    key.chmod(0o600)


def test_without_tls_it_does_not_start(tmp_path):
    daemon = Daemon(tmp_path / "d", tmp_path, grpc={"host": "0.0.0.0"}, diagnosis={"mode": "rules"})
    done = lineside("serve", "--config", daemon.config)
    assert done.returncode == 1
    assert b"[grpc] tls is false" in done.stderr
    assert b"lineside certs init" in done.stderr


def test_without_a_list_it_does_not_start_and_tells_how_to_make_one(tmp_path):
    daemon = Daemon(
        tmp_path / "d", tmp_path, grpc={"tls": True}, mqtt={"broker": "off"}, diagnosis={"mode": "rules"}
    )
    files = CertificateFiles(daemon.directory / "state" / "certs")

    def certs(*arguments):
        return lineside("certs", *arguments, "--config", daemon.config)

    assert certs("init").returncode == certs("server", "127.0.0.1").returncode == 0
    files.revoked.unlink()
    done = lineside("serve", "--config", daemon.config)
    assert done.returncode == 1
    assert b"crl.pem is not there" in done.stderr
    assert b"lineside certs init --list" in done.stderr
    assert b"nobody is revoked" in certs("init", "--list").stdout
    assert b"there is a list already" in certs("init", "--list").stderr
    identity = Identity(files.ca, files.server, files.server_key)
    daemon.address = client.Secured(f"127.0.0.1:{daemon.grpc_port}", identity)
    daemon.start()
    daemon.end()
