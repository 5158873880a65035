"""An archive is hostile until it has been read to its end."""

import gzip
import io
import json
import os
import sqlite3
import tarfile

import pytest
from tests.unit.backup.backup_parts import contents, installation, quiet, saved

from lineside.backup.archive import FORMAT, MAX_MANIFEST_BYTES, written_whole
from lineside.backup.restore import restore
from lineside.errors import LinesideError

MANIFEST = {"format": FORMAT, "version": "0", "created_at": "", "machine": "", "files": []}
HUGE = 1 << 41


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """One for all: whatever is refused leaves it as it was."""
    return installation(tmp_path_factory.mktemp("archive") / "here")


def refused(here, path, match):
    before = contents(here)
    with pytest.raises(LinesideError, match=match):
        restore(here, path, quiet, configuration=False)
    assert contents(here) == before
    assert not list(here.journal.parent.glob("**/.*.restored"))
    assert not here.marker.exists()


def packed(path, members):
    """A tar of (header, content), whatever they are."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content))
    return path


def header(name, content=b"", **fields):
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def manifest(files, **changes):
    said = [{"name": n, "bytes": size, "sha256": digest} for n, size, digest in files]
    content = json.dumps(MANIFEST | {"files": said} | changes).encode()
    return header("manifest.json", content), content


def test_truncated_anywhere(here, tmp_path):
    whole = saved(here, tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    for size in (0, 1, 15, 200, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        refused(here, cut, "no whole backup")


def test_a_byte_that_differs(here, tmp_path):
    path = saved(here, tmp_path / "backup")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[content.index(b"from here")] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    refused(here, path, "devices.json is not what was saved")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "drafts/../../x",
        "drafts/x",
        "mappings/..",
        "mappings/lineside.toml",
    ],
)
def test_names_that_lead_elsewhere(here, tmp_path, name):
    path = packed(tmp_path / "bad", [manifest([(name, 1, "0" * 64)]), (header(name, b"x"), b"x")])
    refused(here, path, "no part of one")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_whatever_is_no_file(here, tmp_path, kind):
    member = header("devices.json", type=kind, linkname="/etc/passwd")
    refused(
        here,
        packed(tmp_path / "bad", [manifest([("devices.json", 0, "0" * 64)]), (member, b"")]),
        "stands where",
    )


def test_a_name_too_long_for_a_plain_header(here, tmp_path):
    refused(here, packed(tmp_path / "bad", [(header("x" * 300), b"")]), "stands where the file manifest.json")


def test_more_than_fits(here, tmp_path):
    path = packed(tmp_path / "bad", [manifest([("devices.json", HUGE, "0" * 64)])])
    refused(here, path, "are free")


def test_a_file_longer_than_it_says(here, tmp_path):
    content = b"x" * 5000
    members = [manifest([("devices.json", 5, "0" * 64)]), (header("devices.json", content), content)]
    refused(here, packed(tmp_path / "bad", members), "has 5000 bytes, not 5")


def test_a_manifest_without_bound(here, tmp_path):
    content = b" " * (MAX_MANIFEST_BYTES + 1)
    refused(here, packed(tmp_path / "bad", [(header("manifest.json", content), content)]), "more than")
    many = [("devices.json", 0, "0" * 64)] * 400
    refused(here, packed(tmp_path / "bad", [manifest(many)]), "manifest cannot be used")


def test_what_follows_the_last_file(here, tmp_path):
    refused(here, packed(tmp_path / "bad", [manifest([]), (header("more", b"x"), b"x")]), "something follows")
    twice = [("devices.json", 0, "0" * 64)] * 2
    refused(here, packed(tmp_path / "bad", [manifest(twice)]), "a file twice")


def test_a_newer_format_is_refused_with_the_version_that_reads_it(here, tmp_path):
    path = packed(tmp_path / "new", [manifest([], format=FORMAT + 1, version="9.1", other=1)])
    refused(here, path, r"format 2, written by lineside 9\.1; this reads 1")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("PRAGMA user_version = 99", "schema 99, written by a newer version"),
        ("PRAGMA user_version = 0", "schema 0, written by another version"),
        ("CREATE TRIGGER t AFTER INSERT ON report BEGIN DELETE FROM call; END", "a trigger or view, 't'"),
    ],
)
def test_a_journal_that_is_not_ours(here, tmp_path, change, match):
    there = installation(tmp_path / "there")
    with sqlite3.connect(there.journal) as db:
        db.execute(change)
    refused(here, saved(there, tmp_path / "backup"), match)


def test_a_size_below_zero(here, tmp_path):
    """Read as a size, it would be all that follows."""
    block = bytearray(header("manifest.json").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 11 + b"\xfe"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    path = tmp_path / "bad.backup"
    path.write_bytes(gzip.compress(bytes(block) + bytes(4096)))
    refused(here, path, "has -2 bytes")


@pytest.mark.parametrize("kind", ["device", "directory", "link"])
def test_what_is_no_plain_file_is_not_replaced(kind, tmp_path):
    target = tmp_path / kind
    if kind == "device":
        os.mkfifo(target)
    elif kind == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "elsewhere")
    before = target.lstat()
    with pytest.raises(LinesideError, match="no plain file"), written_whole(target) as stream:
        stream.write(b"x")
    assert target.lstat() == before
