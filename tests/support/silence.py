"""A peer that has vanished without a word: its kernel drops what comes, and acknowledges nothing."""

from __future__ import annotations

import ctypes
import socket

SO_ATTACH_FILTER = 26


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("first", ctypes.POINTER(_Instruction)))


def fall_silent(link: socket.socket) -> None:
    """From now on `link` is half open: whoever sends to it hears neither an acknowledgement nor a reset.

    A socket filter that lets nothing through, which needs no rights: as a pulled cable, on loopback.
    """
    drop_all = (_Instruction * 1)(_Instruction(0x06, 0, 0, 0))
    program = _Program(1, drop_all)
    link.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
