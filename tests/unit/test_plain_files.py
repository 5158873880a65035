"""Files that an operator names: what is taken, up to which size, and that nothing else is waited for."""

import io
import os
import threading
from pathlib import Path

import pytest

from lineside import plain_files
from lineside.plain_files import open_plain, read_given, read_plain


def refused(path, max_bytes=4):
    with pytest.raises(OSError) as raised:
        read_plain(path, max_bytes)
    return raised.value.strerror


def test_a_file_is_read_up_to_the_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"four")
    assert read_plain(path, 4) == b"four"
    assert refused(path, 3) == "has more than 3 bytes"
    (tmp_path / "link").symlink_to(path)
    assert read_plain(tmp_path / "link", 4) == b"four"


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "is no plain file"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/proc/self/fd"])
def test_devices_and_directories_are_refused(path):
    assert refused(path) == "is no plain file"


def test_what_is_not_there_or_cannot_be_is_said(tmp_path):
    assert refused(tmp_path / "none") == "No such file or directory"
    assert refused(tmp_path / "a\0b") == "its name has a NUL character"


def test_nothing_stays_open(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="no plain file"):
            open_plain(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_a_command_is_given_may_come_through_a_pipe(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"report",)).start()
    assert read_given(str(tmp_path / "pipe")) == b"report"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"report")))
    assert read_given("-", 6) == b"report"


@pytest.mark.parametrize("name", ["/dev/zero", "-"])
def test_what_a_command_is_given_is_bounded(name, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(plain_files.MAX_GIVEN_BYTES + 1))))
    with pytest.raises(OSError, match=f"has more than {plain_files.MAX_GIVEN_BYTES} bytes"):
        read_given(name)
