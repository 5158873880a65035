"""HTTP/2 by hand, for what no proper client does: frames, and header blocks without compression."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
CANCEL = 0x8


class Frame(NamedTuple):
    """One that has come."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(
    kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, length: int | None = None
) -> bytes:
    """`length`: what it says of itself, where that is not true."""
    said = len(payload) if length is None else length
    return struct.pack(">I", said)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(*headers: tuple[str, str]) -> bytes:
    """A header block: literals that enter no table, without Huffman's code."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def call(path: str, stream: int, *more: tuple[str, str], end: bool = False) -> bytes:
    """The HEADERS that begin a gRPC call."""
    pseudo = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"))
    headers = block(*pseudo, ("te", "trailers"), ("content-type", "application/grpc"), *more)
    return frame(HEADERS, headers, flags=END_HEADERS | (END_STREAM if end else 0), stream=stream)


def message(payload: bytes, stream: int, *, end: bool = True) -> bytes:
    """A gRPC message as the DATA of a call."""
    body = b"\0" + struct.pack(">I", len(payload)) + payload
    return frame(DATA, body, flags=END_STREAM if end else 0, stream=stream)


def window(most: int) -> bytes:
    """SETTINGS that let the server send so many bytes on each stream."""
    return frame(SETTINGS, struct.pack(">HI", 4, most))


def connect(
    port: int, *, greet: bool = True, settings: bytes | None = None, seconds: float = 5
) -> socket.socket:
    """A connection that has said what HTTP/2 begins with, and answers nothing by itself."""
    link = socket.create_connection(("127.0.0.1", port), seconds)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if greet:
        link.sendall(
            PREFACE + (frame(SETTINGS) if settings is None else settings) + frame(SETTINGS, flags=ACK)
        )
    return link


def frames(link: socket.socket) -> Iterator[Frame]:
    """What comes, until the other side ends it."""
    waiting = b""
    while True:
        while len(waiting) >= 9 and len(waiting) >= 9 + (length := int.from_bytes(waiting[:3], "big")):
            kind, flags, stream = struct.unpack(">BBI", waiting[3:9])
            yield Frame(kind, flags, stream, waiting[9 : 9 + length])
            waiting = waiting[9 + length :]
        try:
            more = link.recv(65_536)
        except ConnectionError:
            return
        if not more:
            return
        waiting += more


def send_all(link: socket.socket, content: bytes) -> bool:
    """Whether all of it went out before the other side ended the connection."""
    with contextlib.suppress(ConnectionError):
        link.sendall(content)
        return True
    return False


def ends(link: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection in that time; what it sends meanwhile is read."""
    until_s = time.monotonic() + seconds
    try:
        while (left_s := until_s - time.monotonic()) > 0:
            link.settimeout(left_s)
            if not link.recv(65_536):
                return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def _text(value: str) -> bytes:
    raw = value.encode()
    return _length(len(raw)) + raw


def _length(value: int) -> bytes:
    if value < 127:
        return bytes([value])
    coded, rest = bytearray([127]), value - 127
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes(coded) + bytes([rest])
