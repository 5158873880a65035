"""The listener for the plant's network: what it is configured with, and what is said where that cannot be."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from tests.support.ports import free_port

from lineside.config import Config, MqttConfig, SecurityConfig
from lineside.errors import LinesideError
from lineside.security import authority
from lineside.security.files import CertificateFiles
from lineside.security.revocation import create_list, revoke
from lineside.transport.mqtt.lan import Lan, access_list, address_of, check_free, has_changed, lan_of, prepare
from lineside.transport.mqtt.mosquitto import write_config


@pytest.fixture
def lan(tmp_path: Path) -> Lan:
    files = CertificateFiles(tmp_path / "certs")
    authority.create_authority(files)
    create_list(files)
    authority.issue_server(files, ["127.0.0.1"])
    return Lan("lo", free_port(), files, ("anna",))


def test_without_an_interface_there_is_none():
    assert lan_of(Config(), Path("certs")) is None
    config = Config(mqtt=MqttConfig(interface="eth1"), security=SecurityConfig(operators=("anna",)))
    made = lan_of(config, Path("certs"))
    assert made is not None
    assert (made.interface, made.port, made.operators) == ("eth1", 8883, ("anna",))


def test_an_address_is_itself_and_an_interface_has_one():
    assert address_of("lo") == address_of("127.0.0.1") == "127.0.0.1"
    assert address_of("fe80::1") == "fe80::1"


@pytest.mark.parametrize("interface", ["eth-none", "x" * 64, "lo\0", "网卡"])
def test_an_unknown_interface_is_named(interface: str):
    with pytest.raises(LinesideError) as caught:
        address_of(interface)
    assert "[mqtt] interface" in caught.value.message
    assert repr(interface) in caught.value.message
    assert "ip -br address" in caught.value.hint


def test_an_address_of_another_machine_and_a_port_in_use_are_named():
    with pytest.raises(LinesideError, match=r"\[mqtt\] interface: this machine has no address 203.0.113.9"):
        check_free("203.0.113.9", 8883)
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(LinesideError, match=r"\[mqtt\] interface_port"):
        check_free("127.0.0.1", taken.getsockname()[1])


def test_what_the_broker_reads_is_written_for_it_alone(lan: Lan, tmp_path: Path):
    write_config(tmp_path, MqttConfig(), 1883, lan)
    for name in ("ca.pem", "server.pem", "server.key", "acl"):
        assert stat.S_IMODE((tmp_path / "lan" / name).stat().st_mode) & 0o037 == 0, name
    text = (tmp_path / "mosquitto.conf").read_text()
    assert text.index("per_listener_settings true") < text.index("listener 1883 127.0.0.1")
    opened = text.partition(f"listener {lan.port} 127.0.0.1")[2]
    assert "allow_anonymous false" in opened
    assert "require_certificate true" in opened
    assert "user anna\n" in (tmp_path / "lan" / "acl").read_text()


def test_the_revocation_list_is_read_and_one_that_is_gone_or_older_is_not_taken(lan: Lan, tmp_path: Path):
    first = lan.files.revoked.read_bytes()
    write_config(tmp_path, MqttConfig(), 1883, lan)
    assert "\ncrlfile lan/crl.pem\n" in (tmp_path / "mosquitto.conf").read_text()
    assert not has_changed(lan, tmp_path)
    authority.issue_client(lan.files, "lost")
    revoke(lan.files, "lost")
    assert has_changed(lan, tmp_path)
    write_config(tmp_path, MqttConfig(), 1883, lan)
    assert not has_changed(lan, tmp_path)
    newest = lan.files.revoked.read_bytes()
    for content, message in (
        (None, "is not there"),
        (lan.files.ca.read_bytes(), "no revocation list"),
        (first, "older than the list in force"),
    ):
        lan.files.revoked.unlink()
        if content is not None:
            lan.files.revoked.write_bytes(content)
        with pytest.raises(LinesideError, match=message):
            has_changed(lan, tmp_path)
        assert (tmp_path / "lan/crl.pem").read_bytes() == newest
        lan.files.revoked.write_bytes(newest)


def test_without_a_revocation_list_the_listener_does_not_start(lan: Lan, tmp_path: Path):
    lan.files.revoked.unlink()
    with pytest.raises(LinesideError, match="is not there: nobody knows whose certificates were revoked"):
        write_config(tmp_path, MqttConfig(), 1883, lan)


def test_missing_certificates_are_named_with_what_makes_them(lan: Lan, tmp_path: Path):
    lan.files.server_key.unlink()
    with pytest.raises(LinesideError) as caught:
        prepare(lan, tmp_path, None)
    assert "server.key" in caught.value.message
    assert "lineside certs" in caught.value.hint


def test_a_gateway_may_publish_what_its_mapping_reads_and_nothing_else(tmp_path: Path):
    mappings = tmp_path / "neuron.toml"
    mappings.write_text(
        '[[mapping]]\ntopic = "plant/+/alarm"\ngateways = ["neuron-1", "一线"]\nreport.alarm.code = "/code"\n'
        '[[mapping]]\ntopic = "other/+"\nreport.alarm.code = "/code"\n'
    )
    mqtt = MqttConfig(interface="eth1", mappings=(str(mappings),))
    made = lan_of(Config(mqtt=mqtt), Path("certs"))
    assert made is not None
    assert made.gateways == (("neuron-1", "plant/+/alarm"), ("一线", "plant/+/alarm"))
    text = access_list(("neuron-1",), made.gateways)
    assert "\nuser neuron-1\ntopic write plant/+/alarm\n" in text
    assert "other" not in text


@pytest.mark.parametrize("name", ["anna\ntopic readwrite #", " anna", "a\r"])
def test_an_operator_is_one_line(name: str):
    with pytest.raises(LinesideError, match=r"\[security\] operators"):
        access_list((name,))
