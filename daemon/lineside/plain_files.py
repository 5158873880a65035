"""Files that an operator names: plain ones, read up to a bound and never waited for. Knows no formats."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

# More than any report or message may have, which who reads it says.
MAX_GIVEN_BYTES = 1_048_576


def open_plain(path: Path) -> BinaryIO:
    """The file, open for reading. Raises OSError, also for a pipe, a device or a directory.

    A pipe is opened without waiting for its other end, so that it can be refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name has a NUL character", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor, not a path


def read_plain(path: Path, max_bytes: int) -> bytes:
    """All of the file. Raises OSError as `open_plain`, and for one that has more than `max_bytes`."""
    with open_plain(path) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"has more than {max_bytes} bytes", str(path))
    return content


def read_given(name: str, max_bytes: int = MAX_GIVEN_BYTES) -> bytes:
    """What a command was given: a file, a pipe whose end is waited for, or standard input for `-`.

    Raises OSError as `read_plain`.
    """
    if name == "-":
        content = sys.stdin.buffer.read(max_bytes + 1)
    else:
        with Path(name).open("rb") as stream:
            content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"has more than {max_bytes} bytes", name)
    return content
