"""What is in a backup, who may read it, and what is left where it fails."""

import threading

import pytest
from tests.unit.backup.backup_parts import LIMITS, answer, installation, quiet

from lineside.backup import take
from lineside.backup.archive import Reader
from lineside.backup.parts import MARKER
from lineside.backup.take import back_up
from lineside.errors import LinesideError
from lineside.journal import Journal


def manifest(path):
    with path.open("rb") as stream:
        return Reader(stream).manifest()


def test_what_is_in_it_and_what_is_named_as_missing(tmp_path):
    here = installation(tmp_path / "here")
    secrets = tmp_path / "here" / "credentials"
    secrets.mkdir()
    (secrets / "mqtt-password").write_text("not for a USB stick")
    (here.journal.parent / "power-originals.json").write_text("{}")
    here.config.certs_path.mkdir()
    (here.config.certs_path / "ca.key").write_text("nor this")
    target = tmp_path / "backup"
    assert back_up(here, target, quiet) == manifest(target)
    names = [file.name.split("/")[0] for file in manifest(target).files]
    wanted = [
        "journal.db",
        "feedback.db",
        "devices.json",
        "power-setting.json",
        "calibration.toml",
        "configuration.toml",
    ]
    assert names == [*wanted, "drafts", "mappings"]
    password, certs, bundle = manifest(target).left_out
    assert (password, bundle) == (str(secrets / "mqtt-password"), str(here.config.bundle_path))
    assert certs.startswith(f"{here.config.certs_path} (the plant's authority")
    assert target.stat().st_mode & 0o777 == 0o600
    assert len(manifest(target).machine) == 16


def test_copied_while_it_is_written_it_is_one_instant(tmp_path, monkeypatch):
    """A writer that never rests does not make it begin anew."""
    monkeypatch.setattr(take, "PAGES_A_STEP", 1)
    here = installation(tmp_path / "here", answers=300)
    journal, stop, seen = Journal(here.journal, LIMITS), threading.Event(), []

    def write():
        number = 1000
        while not stop.is_set():
            answer(journal, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(here, tmp_path / "backup", lambda what, done, total: seen.append((what, done, total)))
    finally:
        stop.set()
        writer.join()
        journal.close()
    steps = [done for what, done, _ in seen if what == "copying journal.db"]
    assert steps == sorted(steps), "it never began anew"
    assert seen[-1][1] == seen[-1][2]


def test_what_fails_leaves_the_last_backup(tmp_path):
    here = installation(tmp_path / "here")
    target = tmp_path / "backup"
    target.write_text("yesterday's")
    here.config.feedback_path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(LinesideError, match=r"feedback\.db"):
        back_up(here, target, quiet)
    assert target.read_text() == "yesterday's"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("target", "match"), [("nowhere/backup", "No such file"), ("here", "is no file")])
def test_a_target_that_is_none(tmp_path, target, match):
    here = installation(tmp_path / "here")
    with pytest.raises(LinesideError, match=match):
        back_up(here, tmp_path / target, quiet)


def test_nothing_to_save(tmp_path):
    here = installation(tmp_path / "here")
    for part in here.present():
        part.path.unlink()
    with pytest.raises(LinesideError, match="nothing to save"):
        back_up(here, tmp_path / "backup", quiet)
    assert not (here.journal.parent / MARKER).exists()
