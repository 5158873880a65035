"""The doctor's visit to a real broker, and to what only looks like one."""

import json
import socket
import subprocess

import pytest
from tests.integration.transport.mqtt_parts import broker
from tests.support.daemon import lineside
from tests.support.ports import free_port

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.transport.mqtt import hello

pytestmark = pytest.mark.anyio


def retained(port, topic="lineside/v1/health/#"):
    command = [
        "mosquitto_sub",
        "-p",
        str(port),
        "-t",
        topic,
        "-C",
        "1",
        "-W",
        "5",
        "-F",
        "%r %q %t %p",
        "-q",
        "1",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


async def test_health_is_left_retained_and_the_exit_status_tells_when_not(tmp_path):
    config = tmp_path / "lineside.toml"
    async with broker(tmp_path) as running:
        text = f'state_dir = "{tmp_path}/s"\n[grpc]\nenabled = false\n[power]\nroot = "{tmp_path}"\n'
        config.write_text(
            f'{text}[mqtt]\nbroker = "external"\nport = {running.port}\nclient_id = "press 4"\n'
        )
        done = lineside("doctor", "--json", "--publish", "--config", config)
        assert done.returncode == 2, done.stderr
        found = {each["name"]: each["state"] for each in json.loads(done.stdout)["findings"]}
        assert found["broker.answers"] == "ok"
        told = retained(running.port)
        assert told.startswith("1 1 lineside/v1/health/press 4 {")
        document = json.loads(told[told.index("{") :])
        assert (document["client_id"], document["broker"], document["health"]) == ("press 4", "ok", "problem")
    done = lineside("doctor", "--publish", "--config", config)
    assert done.returncode == 3
    assert b"not published; the next run tries again" in done.stderr


async def test_a_broker_that_refuses_is_told_why(tmp_path):
    (tmp_path / "nobody").write_text("")
    (tmp_path / "nobody").chmod(0o644)
    lines = ("allow_anonymous false", f"password_file {tmp_path}/nobody")
    tmp_path.chmod(0o755)
    async with broker(tmp_path, *lines) as running:
        with pytest.raises(LinesideError, match="refuses: connect: Not authorized: set \\[mqtt\\] user"):
            hello.say_hello(MqttConfig(broker="external", port=running.port))


def test_what_accepts_and_never_speaks_is_left_in_time(monkeypatch):
    monkeypatch.setattr(hello, "VISIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = MqttConfig(broker="external", port=silent.getsockname()[1])
        with pytest.raises(LinesideError, match="does not answer: connect"):
            hello.say_hello(config)


def test_where_nobody_listens_and_without_a_password(tmp_path):
    with pytest.raises(LinesideError, match="Connection refused"):
        hello.say_hello(MqttConfig(broker="external", port=free_port()))
    config = MqttConfig(broker="external", user="u", password_file=str(tmp_path / "none"))
    with pytest.raises(LinesideError, match="password_file"):
        hello.say_hello(config)
