"""The managed Mosquitto, killed and left behind in every way."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from tests.integration.transport.mqtt_parts import config, device, in_thread, linked, until
from tests.support.ports import free_port

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.transport.mqtt import mosquitto
from lineside.transport.mqtt.leftover import FILE_NAME, Leftover, ProcessId, started_at
from lineside.transport.mqtt.managed import ManagedBroker
from lineside.transport.mqtt.probe import answers_mqtt

pytestmark = pytest.mark.anyio
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")

DAEMON = """
import sys, anyio
from pathlib import Path
sys.path[:0] = {path!r}
from lineside.config import MqttConfig
from lineside.transport.mqtt.managed import ManagedBroker
from tests.integration.transport.mqtt_parts import EchoInbox, config, linked
async def main():
    broker = ManagedBroker(MqttConfig(port={port}), Path({directory!r}))
    port = (await broker.start()).port
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.watch)
        async with linked(config(port), EchoInbox(stores=False)):
            print(port, broker._process.pid, flush=True)
            await anyio.sleep_forever()
anyio.run(main)
"""


@asynccontextmanager
async def managed(directory: Path, **changed: object) -> AsyncIterator[tuple[ManagedBroker, int]]:
    broker = ManagedBroker(MqttConfig(**({"port": 0} | changed)), directory)
    port = (await broker.start()).port
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.watch)
        try:
            yield broker, port
        finally:
            with anyio.CancelScope(shield=True):
                await broker.stop()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A daemon's process with its broker: process, port, the broker's process id."""
    script = DAEMON.format(path=sys.path, port=0, directory=str(tmp_path / "m"))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port, pid = map(int, process.stdout.readline().split())
    yield process, port, pid
    process.kill()
    process.communicate()
    wait_gone(pid)


def wait_gone(pid: int) -> None:
    """Wait for a process that is not our child."""
    if not started_at(pid):
        return
    descriptor = os.pidfd_open(pid)
    try:
        import select

        assert select.select([descriptor], [], [], 8)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def publish(port: int, payloads: list[bytes]) -> None:
    with device(port) as client:
        for payload in payloads:
            client.publish("lineside/v1/fault/a", payload)


async def test_it_accepts_mqtt_and_ends_when_stopped(tmp_path: Path):
    async with managed(tmp_path / "m") as (broker, port):
        assert await answers_mqtt("127.0.0.1", port)
        pid = broker._process.pid
        remembered = json.loads((tmp_path / "m" / FILE_NAME).read_bytes())
        assert remembered["child"]["pid"] == pid
        assert remembered["owner"]["pid"] == os.getpid()
    assert not await answers_mqtt("127.0.0.1", port)
    assert not started_at(pid)
    assert not (tmp_path / "m" / FILE_NAME).exists()


async def test_it_listens_on_loopback_only(tmp_path: Path):
    async with managed(tmp_path / "m") as (_broker, port):
        lines = (
            Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
        )
        listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
        assert [address for address in listening if address.endswith(f":{port:04X}")] == [
            f"0100007F:{port:04X}"
        ]


@root_only
async def test_under_root_it_is_a_user_of_its_own_that_owns_only_its_data(tmp_path: Path):
    async with managed(tmp_path / "m") as (broker, _):
        status = Path(f"/proc/{broker._process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        uid = pwd.getpwnam("mosquitto").pw_uid
        assert set(fields["Uid"].split()) == {str(uid)}
        assert fields["Groups"].split() == []
        assert fields["NoNewPrivs"].strip() == "1"
        assert (tmp_path / "m" / "data").stat().st_uid == uid
        assert (tmp_path / "m").stat().st_uid == 0
        assert (tmp_path / "m" / "mosquitto.conf").stat().st_uid == 0


@root_only
async def test_without_root_it_runs_as_us():
    directory = Path(tempfile.mkdtemp(prefix="lineside-test-"))
    try:
        shutil.chown(directory, "nobody")
        script = DAEMON.format(path=sys.path, port=0, directory=str(directory / "m"))
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]
        process = subprocess.Popen([*user, sys.executable, "-c", script], stdout=subprocess.PIPE, cwd="/")
        try:
            if not (line := await in_thread(process.stdout.readline)):
                pytest.skip("that user cannot read this Python")
            pid = int(line.split()[1])
            assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        finally:
            process.kill()
            process.communicate()
        await in_thread(wait_gone, pid)
    finally:
        shutil.rmtree(directory)


async def test_it_dies_with_a_daemon_that_is_killed_and_keeps_the_messages(tmp_path: Path, daemon):
    process, port, pid = daemon
    sent = [b"%d" % index for index in range(50)]
    await in_thread(publish, port, sent)
    process.kill()
    await in_thread(wait_gone, pid)
    async with managed(tmp_path / "m", port=port) as (_, again):
        assert again == port
        async with linked(config(port)) as parts:
            await parts.inbox.until(lambda: len(parts.inbox.incoming) >= len(sent))
            assert [report.payload for report in parts.inbox.incoming] == sent


async def test_a_kill_of_both_loses_at_most_the_last_message(tmp_path: Path, daemon):
    process, port, pid = daemon
    sent = [b"%d" % index for index in range(50)]
    await in_thread(publish, port, sent)
    os.kill(pid, signal.SIGKILL)
    process.kill()
    await in_thread(wait_gone, pid)
    async with managed(tmp_path / "m", port=port) as (_, again), linked(config(again)) as parts:
        # Mosquitto acknowledges before it writes: the one in between is what a kill can take.
        await parts.inbox.until(lambda: len(parts.inbox.incoming) >= len(sent) - 1)
        assert [report.payload for report in parts.inbox.incoming][: len(sent) - 1] == sent[:-1]


async def test_a_broker_left_behind_is_ended_and_its_port_taken(
    tmp_path: Path, daemon, caplog: pytest.LogCaptureFixture
):
    process, port, pid = daemon
    os.kill(pid, signal.SIGSTOP)  # it cannot hear the death signal yet
    process.kill()
    process.wait()
    assert started_at(pid)
    async with managed(tmp_path / "m", port=port) as (broker, again):
        assert again == port
        assert broker._process.pid != pid
        assert not started_at(pid)
        assert "earlier daemon left" in caplog.text


async def test_the_broker_of_a_daemon_that_runs_is_left_alone(tmp_path: Path, daemon):
    process, port, pid = daemon
    with pytest.raises(LinesideError) as caught:
        await ManagedBroker(MqttConfig(port=0), tmp_path / "m").start()
    assert str(process.pid) in caught.value.message
    assert await answers_mqtt("127.0.0.1", port)
    assert started_at(pid)


@pytest.mark.parametrize("content", [b"", b"{", b'{"child":1}', b"\xff"])
async def test_a_file_that_says_nothing_is_no_leftover(tmp_path: Path, content: bytes):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / FILE_NAME).write_bytes(content)
    async with managed(tmp_path / "m") as (_, port):
        assert await answers_mqtt("127.0.0.1", port)


async def test_a_process_that_is_not_ours_is_left_alone(tmp_path: Path):
    import msgspec

    (tmp_path / "m").mkdir()
    bystander = subprocess.Popen(["sleep", "60"], cwd=tmp_path / "m")
    try:
        child = ProcessId(bystander.pid, started_at(bystander.pid))
        leftover = Leftover(child, ProcessId(bystander.pid, 1))
        (tmp_path / "m" / FILE_NAME).write_bytes(msgspec.json.encode(leftover))
        async with managed(tmp_path / "m"):
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_port_that_is_taken_is_named_with_what_to_do(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LinesideError) as caught:
            await ManagedBroker(MqttConfig(port=port), tmp_path / "m").start()
    assert str(port) in caught.value.message
    assert "[mqtt] port" in caught.value.hint
    assert "external" in caught.value.hint


async def test_a_missing_program_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(LinesideError) as caught:
        await ManagedBroker(MqttConfig(mosquitto="/nonexistent/mosquitto"), tmp_path / "m").start()
    assert "/nonexistent/mosquitto" in caught.value.message
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mosquitto, "OTHER_PLACES", ())
    with pytest.raises(LinesideError) as caught:
        await ManagedBroker(MqttConfig(), tmp_path / "m").start()
    assert "apt-get install mosquitto" in caught.value.hint
    with pytest.raises(LinesideError) as caught:
        mosquitto.command("mosquitto")
    assert "setpriv" in caught.value.message


async def test_it_is_found_where_path_does_not_lead(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert mosquitto.find_mosquitto("") == "/usr/sbin/mosquitto"


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LinesideError) as caught:
        await ManagedBroker(MqttConfig(port=0), tmp_path / "file" / "m").start()
    assert "managed_dir" in caught.value.hint


async def test_it_is_not_for_the_network(tmp_path: Path):
    with pytest.raises(LinesideError) as caught:
        await ManagedBroker(MqttConfig(host="0.0.0.0"), tmp_path / "m").start()
    assert "0.0.0.0" in caught.value.message


async def test_a_broker_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mosquitto, "CONFIG", mosquitto.CONFIG + "no_such_option 1\n")
    broker = ManagedBroker(MqttConfig(port=0), tmp_path / "m")
    with pytest.raises(LinesideError) as caught:
        await broker.start()
    assert "no_such_option" in caught.value.message
    await broker.stop()


async def test_one_that_dies_is_started_again_on_its_port(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with managed(tmp_path / "m") as (broker, port), linked(config(port)) as parts:
        first = broker._process.pid
        await in_thread(publish, port, [b"one"])
        await parts.inbox.until(lambda: len(parts.inbox.incoming) == 1)
        os.kill(first, signal.SIGKILL)
        await until(lambda: broker._process.pid != first and parts.link.connected)
        await in_thread(publish, port, [b"two"])
        await parts.inbox.until(lambda: parts.inbox.incoming[-1].payload == b"two")
    assert "has died" in caplog.text


async def test_one_that_cannot_come_back_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with managed(tmp_path / "m") as (broker, port):
        config_file = tmp_path / "m" / "mosquitto.conf"
        good = config_file.read_text()
        config_file.write_text(good + "no_such_option 1\n")
        os.kill(broker._process.pid, signal.SIGKILL)
        await until(lambda: "no_such_option" in caplog.text)
        config_file.write_text(good)
        with anyio.fail_after(8):
            while not await answers_mqtt("127.0.0.1", port):
                await anyio.sleep(0.02)


async def test_it_has_bounds(tmp_path: Path):
    async with managed(tmp_path / "m", max_pending_reports=3) as (_, port):
        async with linked(config(port)):
            pass  # leaves a session behind
        await in_thread(publish, port, [b"%d" % index for index in range(40)])
        async with linked(config(port)) as parts:
            await anyio.sleep(0.3)
            # 20 in flight and 3 queued at the most; Mosquitto counts both for a client that is away.
            assert 3 <= len(parts.inbox.incoming) <= 23


async def test_what_it_says_is_in_our_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "lineside.transport.mqtt.managed")
    async with managed(tmp_path / "m"):
        await until(lambda: "mosquitto: mosquitto version" in caplog.text)


async def test_a_probe_of_something_else_is_no(tmp_path: Path):
    assert not await answers_mqtt("127.0.0.1", free_port())

    async def rude(stream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, rude)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        assert not await answers_mqtt("127.0.0.1", port)
        tasks.cancel_scope.cancel()
