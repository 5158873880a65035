"""The daemon and its ports where none answers; with a running one: tests/integration."""

import socket

import pytest
from tests.support.ports import free_port

from lineside.config import Config, GrpcConfig, MqttConfig, SecurityConfig
from lineside.doctor import broker, ports
from lineside.doctor.machine import Machine
from lineside.errors import LinesideError


def look(grpc=None, mqtt=None, **more):
    config = Config(
        grpc=GrpcConfig(**{"port": free_port()} | (grpc or {})), mqtt=MqttConfig(**(mqtt or {})), **more
    )
    return {found.name: found for found in ports.look(Machine(config))}


def states(*arguments, **more):
    return {name: found.state for name, found in look(*arguments, **more).items()}


def test_nobody_there(tmp_path):
    assert states(mqtt={"port": free_port()}) == {
        "daemon.state": "note",
        "ports.grpc": "ok",
        "ports.mqtt": "ok",
    }


def test_something_else_holds_the_ports():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        found = look({"port": free_port()}, {"port": taken})
        assert found["ports.mqtt"].state == "problem"
        assert f"{taken} of 127.0.0.1 is held by something else" in found["ports.mqtt"].seen
        assert "set [mqtt] port" in found["ports.mqtt"].todo


@pytest.mark.parametrize("host", ["198.51.100.77", "no.such.host.invalid"])
def test_an_address_that_is_not_ours(host):
    found = look({"host": host})["ports.grpc"]
    assert found.state == "problem"
    assert "[grpc] port" in found.todo


@pytest.mark.parametrize(("cause", "state"), [(PermissionError(), "unknown"), (OSError(), "problem")])
def test_a_secret_that_this_user_may_not_read_says_nothing_of_the_broker(monkeypatch, cause, state):
    def refuse(_):
        raise LinesideError("read the broker's credentials", "closed") from cause

    monkeypatch.setattr(broker, "say_hello", refuse)
    (found,) = broker.look(Machine(Config(mqtt=MqttConfig(broker="external"))))
    assert (found.name, found.state) == ("broker.answers", state)


def test_what_cannot_be_asked(tmp_path):
    assert states({"enabled": False}, {"broker": "off"}) == {
        "daemon.state": "unknown",
        "ports.grpc": "not_applicable",
        "ports.mqtt": "not_applicable",
    }
    assert states({"port": 0}, {"port": 0})["ports.grpc"] == "not_applicable"
    found = look({"tls": True}, {"broker": "off"}, security=SecurityConfig(certs_dir=str(tmp_path)))
    assert found["daemon.state"].state == found["ports.grpc"].state == "unknown"
    assert "as the daemon's user" in found["daemon.state"].todo
