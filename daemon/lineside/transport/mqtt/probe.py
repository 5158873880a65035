"""Ports: which is free on this machine, and whether a broker answers on one. Knows nothing of processes."""

from __future__ import annotations

import socket

import anyio

from lineside.errors import LinesideError

ANSWER_S = 2.0
# MQTT 3.1.1: CONNECT with a clean session and no client id, what accepts it, and DISCONNECT.
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
CONNACK = b"\x20\x02\x00\x00"
DISCONNECT = b"\xe0\x00"


def choose_port(host: str, port: int) -> int:
    """`port` where it is free, or any free one for 0. Raises LinesideError where something listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            hint = (
                "stop what listens there, or set [mqtt] port to a free one, "
                'or [mqtt] broker = "external" to use the broker that runs there already'
            )
            message = f"port {port} of {host} is not free: {error.strerror}"
            raise LinesideError("start the managed broker", message, hint) from error
        return int(listener.getsockname()[1])


async def listens(host: str, port: int) -> bool:
    """Whether somebody takes a connection now; nothing is said on it."""
    try:
        with anyio.fail_after(ANSWER_S):
            async with await anyio.connect_tcp(host, port):
                return True
    except (OSError, TimeoutError):
        return False


async def answers_mqtt(host: str, port: int) -> bool:
    """Whether a broker accepts a connection now."""
    try:
        with anyio.fail_after(ANSWER_S):
            async with await anyio.connect_tcp(host, port) as stream:
                await stream.send(CONNECT)
                answer = await stream.receive(len(CONNACK))
                await stream.send(DISCONNECT)
    except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False
    return answer == CONNACK
