"""A Mosquitto of the daemon's own: starts it, sees that it lives, stops it. Knows nothing of its messages."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.security.files import write_private
from lineside.transport.mqtt.backoff import Backoff
from lineside.transport.mqtt.lan import Lan, has_changed
from lineside.transport.mqtt.leftover import forget, remember, stop_leftover
from lineside.transport.mqtt.local import new_login
from lineside.transport.mqtt.mosquitto import (
    CONFIG_NAME,
    HOST,
    OPERATION,
    allow_descriptors,
    command,
    find_mosquitto,
    prepare_directory,
    write_config,
)
from lineside.transport.mqtt.probe import answers_mqtt, choose_port

logger = logging.getLogger("lineside.transport.mqtt.managed")

START_S = 10.0
STOP_S = 10.0
PROBE_EVERY_S = 0.02
STABLE_S = 10.0
RETRY_S = 5.0
LOGIN_NAME = "daemon-password"


class ManagedBroker:
    """One Mosquitto process that ends with the daemon. `directory` holds its configuration and its queues."""

    def __init__(self, config: MqttConfig, directory: Path, lan: Lan | None = None) -> None:
        self._config = config
        self._lan = lan
        self._directory = directory
        self._port = 0
        self._process: anyio.abc.Process | None = None
        self._stopping = anyio.Event()
        self._changing = anyio.Lock()
        self._reloading = False
        # Without the network's listener there is no operator who could come.
        self._login = new_login() if config.power and lan is not None else None

    async def start(self) -> MqttConfig:
        """Start it and wait until it accepts MQTT; returns how to reach it. Only from the main thread."""
        if self._config.host not in (HOST, "localhost"):
            hint = (
                f'set [mqtt] host = "{HOST}", or broker = "external" with the broker of {self._config.host}'
            )
            raise LinesideError(OPERATION, f"it listens on {HOST} only, not on {self._config.host}", hint)
        find_mosquitto(self._config.mosquitto)
        allow_descriptors()
        prepare_directory(self._directory)
        await stop_leftover(self._directory, CONFIG_NAME)
        self._port = choose_port(HOST, self._config.port)
        self._write_config()
        self._process = await self._spawn()
        logger.info("the managed broker listens", extra={"port": self._port, "pid": self._process.pid})
        return msgspec.structs.replace(self._config, host=HOST, port=self._port, **self._remembered_login())

    async def watch(self) -> None:
        """Log what it says and keep it running, until stopped. Runs from its start on."""
        backoff = Backoff(most_s=RETRY_S)
        while self._process is not None and not self._stopping.is_set():
            begin = anyio.current_time()
            await log_lines(self._process)
            status = await self._process.wait()
            if self._stopping.is_set():
                return
            if anyio.current_time() - begin > STABLE_S:
                backoff.reset()
            if self._reloading:
                logger.info("the managed broker starts again: what it reads for the network has changed")
                await self._restart(backoff, 0.0)
                continue
            logger.error("the managed broker has died and is started again", extra={"status": status})
            await self._restart(backoff, backoff.next_s())

    async def reload(self) -> None:
        """Start it again where its listener for the network would read something else. Its queues stay.

        Mosquitto reads certificates and list again at a signal, too, but lets who is connected stay so, and
        whoever holds a ticket of an earlier connection come back.
        """
        if self._lan is None:
            return
        try:
            if not has_changed(self._lan, self._directory):
                return
        except (LinesideError, OSError) as error:
            logger.error("the managed broker goes on with what it has read: %s", error)  # noqa: TRY400
            return
        async with self._changing:
            if self._process is not None and not self._stopping.is_set():
                self._reloading = True
                await end(self._process)

    async def stop(self) -> None:
        """End it, with its queues saved."""
        self._stopping.set()
        async with self._changing:
            if self._process is not None:
                await end(self._process)
                forget(self._directory)

    async def _restart(self, backoff: Backoff, wait_s: float) -> None:
        while True:
            with anyio.move_on_after(wait_s):
                await self._stopping.wait()
            if self._stopping.is_set():
                return
            try:
                async with self._changing:
                    if self._reloading:
                        self._reloading = False
                        self._write_config()
                    self._process = await self._spawn()
            except LinesideError as error:
                logger.error("%s", error)  # noqa: TRY400 - it says what to do, not where it was raised
                wait_s = backoff.next_s()
            else:
                return

    def _write_config(self) -> None:
        try:
            write_config(self._directory, self._config, self._port, self._lan, self._login)
        except OSError as error:
            hint = "free space there, or make it writable for the daemon's user"
            raise LinesideError(OPERATION, f"{self._directory}: {error.strerror}", hint) from error

    def _remembered_login(self) -> dict[str, str]:
        """What the daemon's own connections show, in a file that is the daemon's alone."""
        if self._login is None:
            return {}
        path = self._directory / LOGIN_NAME
        write_private(path, f"{self._login.password}\n".encode())
        return {"user": self._login.user, "password_file": str(path)}

    async def _spawn(self) -> anyio.abc.Process:
        # The death signal comes when the thread that forked ends: only the main thread ends with the daemon.
        assert threading.current_thread() is threading.main_thread(), "spawned from the main thread"
        process = await anyio.open_process(
            command(find_mosquitto(self._config.mosquitto)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._directory,
            start_new_session=True,  # a terminal's Ctrl-C is for the daemon, which then ends it in its turn
        )
        remember(self._directory, process.pid)
        try:
            await self._wait_until_it_answers(process)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await end(process)
            raise
        return process

    async def _wait_until_it_answers(self, process: anyio.abc.Process) -> None:
        deadline = anyio.current_time() + START_S
        while not await answers_mqtt(HOST, self._port):
            if process.returncode is not None or anyio.current_time() > deadline:
                said = await last_words(process)
                hint = f"see {self._directory / CONFIG_NAME} and what mosquitto says about it"
                raise LinesideError(OPERATION, f"mosquitto does not start: {said}", hint)
            await anyio.sleep(PROBE_EVERY_S)


async def log_lines(process: anyio.abc.Process) -> None:
    """What a process says, to our log, until it ends."""
    rest = b""
    assert process.stderr is not None
    with contextlib.suppress(anyio.ClosedResourceError):
        async for chunk in process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                logger.debug("mosquitto: %s", line.decode(errors="replace"))
            rest = rest[-4096:]


async def last_words(process: anyio.abc.Process) -> str:
    """What a process that failed has said."""
    assert process.stderr is not None
    said = b""
    with anyio.move_on_after(0.5):
        async for chunk in process.stderr:
            said = (said + chunk)[-1000:]
    return " / ".join(said.decode(errors="replace").split("\n")).strip(" /") or "it says nothing"


async def end(process: anyio.abc.Process) -> None:
    """Ask a process to end, then make it. It is gone when this returns."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_S):
            await process.wait()
    if process.returncode is None:
        logger.error("the managed broker does not end and is killed")
        process.kill()
        await process.wait()
    # A reader of its output sees the end of it.
    await process.aclose()
