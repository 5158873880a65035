"""Whole or not at all: what is put back, what is kept, what is refused, and what a crash leaves."""

import os
import shutil
import signal
import sys

import pytest
from tests.unit.backup.backup_parts import LIMITS, answers, contents, installation, quiet, saved

from lineside.backup.parts import Place
from lineside.backup.restore import finish_begun, restore
from lineside.errors import LinesideError
from lineside.journal import Journal


def put_back(here: Place, archive, *, configuration=False):
    return restore(here, archive, quiet, configuration=configuration)


@pytest.fixture
def backup(tmp_path):
    """Of an installation that is gone by now, all but its configuration."""
    return saved(installation(tmp_path / "there", answers=5), tmp_path / "backup")


def test_onto_another_state_directory(tmp_path, backup):
    there, here = installation(tmp_path / "there", 0), installation(tmp_path / "here", answers=1)
    before = contents(here)
    done = put_back(here, backup)
    now = contents(here)
    assert now["journal.db"] == [b"answer %d" % number for number in range(5)]
    assert b"from there" in now["devices.json"]
    assert now["configuration.toml"] == before["configuration.toml"]
    assert set(now) == set(contents(there))
    kept = {path.name.partition(".before-")[0]: path for path in done.kept}
    assert answers(kept["journal.db"]) == [b"answer 0"]
    assert kept["devices.json"].read_bytes() == before["devices.json"]
    Journal(here.journal, LIMITS).close()
    assert not here.marker.exists()


def test_what_the_backup_does_not_have_goes_aside(tmp_path):
    there, here = installation(tmp_path / "there"), installation(tmp_path / "here")
    (there.config.power_setting_path).unlink()
    done = put_back(here, saved(there, tmp_path / "backup"))
    assert "power-setting.json" not in contents(here)
    assert any(path.name.startswith("power-setting.json.before-") for path in done.kept)


def test_a_stale_log_of_writes_does_not_spoil_what_is_put_back(tmp_path, backup):
    here = installation(tmp_path / "here", answers=1)
    stale = here.journal.with_name("journal.db-wal")
    stale.write_bytes(b"what a killed daemon left")
    put_back(here, backup)
    assert not stale.exists()
    assert answers(here.journal)[4] == b"answer 4"


def test_with_the_configuration_below_another_root(tmp_path):
    there = installation(tmp_path / "there")
    backup = saved(there, tmp_path / "backup")
    root = tmp_path / "root"
    # A fresh system whose configuration lies, and says, the same.
    config = root / there.config_path.relative_to("/")
    config.parent.mkdir(parents=True)
    config.write_text(f'state_dir = "{tmp_path / "there" / "state"}"')
    here = Place(there.config, there.config_path, root)
    put_back(here, backup, configuration=True)
    assert contents(here).keys() == contents(there).keys()
    assert config.read_bytes() == there.config_path.read_bytes()
    assert config.stat().st_mode & 0o777 == 0o644
    assert here.journal.stat().st_mode & 0o777 == 0o600


def test_a_configuration_that_looks_elsewhere_is_refused(tmp_path, backup):
    here = installation(tmp_path / "here")
    before = contents(here)
    with pytest.raises(LinesideError, match=r"(?s)keeps journal.db as .*there.*--keep-configuration"):
        put_back(here, backup, configuration=True)
    assert contents(here) == before
    assert not list(tmp_path.glob("here/**/.*.restored"))


def test_a_running_daemon_is_left_alone(tmp_path, backup):
    here = installation(tmp_path / "here")
    journal = Journal(here.journal, LIMITS)
    with pytest.raises(LinesideError, match=r"(?s)is taken.*another daemon is running"):
        put_back(here, backup)
    journal.close()
    put_back(here, backup)


def killed_at(step, here, backup):
    """Restore, killed before the `step`-th change to a directory; whether it came to that."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event, _):
            nonlocal seen
            if event in {"os.rename", "os.remove", "os.mkdir"}:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        put_back(here, backup)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_anywhere_it_is_done_wholly_or_not_at_all(tmp_path, backup):
    here = installation(tmp_path / "here", answers=1)
    before = contents(here)
    shutil.copytree(tmp_path / "here", tmp_path / "untouched")
    outcomes, step = [], 0
    killed = True
    while killed:
        step += 1
        shutil.rmtree(tmp_path / "here")
        shutil.copytree(tmp_path / "untouched", tmp_path / "here")
        killed = killed_at(step, here, backup)
        finish_begun(here)  # as the daemon does at its start
        now = contents(here)
        untouched = now == before
        assert untouched or (len(now["journal.db"]) == 5 and b"from there" in now["devices.json"])
        assert set(now) == set(before)
        outcomes.append(untouched)
        Journal(here.journal, LIMITS).close()
    assert step > 15, "it was killed in many places"
    assert outcomes == sorted(outcomes, reverse=True), "once begun, always finished"
    assert outcomes[0]
    assert not outcomes[-2], "killed after the point of no return, too"


def test_a_marker_of_somebody_elses_moves_nothing(tmp_path):
    here = installation(tmp_path / "here")
    before = contents(here)
    for marker in ('{"stamp":"x/../../y","new":[],"gone":["journal.db"]}', "{"):
        here.marker.write_text(marker)
        with pytest.raises(LinesideError, match="remove it"):
            finish_begun(here)
    here.marker.write_text('{"stamp":"20260101T000000000000Z","new":["../../x"],"gone":[]}')
    with pytest.raises(LinesideError, match="no part"):
        finish_begun(here)
    here.marker.unlink()
    assert contents(here) == before


def test_a_calibration_that_cannot_be_used_is_not_put_back(tmp_path):
    there, here = installation(tmp_path / "there"), installation(tmp_path / "here")
    there.config.state_path("", "calibration.toml").write_text("half of o")
    before = contents(here)
    with pytest.raises(LinesideError, match="read calibration"):
        put_back(here, saved(there, tmp_path / "backup"))
    assert contents(here) == before
