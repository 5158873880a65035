"""A bundle's directory is whole or not there, whatever ends the build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.engine.bundle import MANIFEST
from lineside_models import bundle_writer
from lineside_models.bundle_writer import whole_directory
from lineside_models.errors import BuildError

ROOT = Path(__file__).parents[3]


def write(target: Path, content: str) -> None:
    with whole_directory(target) as directory:
        (directory / MANIFEST).write_text(content)
        (directory / "weights").write_text(content)


def listing(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


OLD, NEW = ({f"b/{MANIFEST}": word, "b/weights": word} for word in ("old", "new"))


def test_written_and_replaced(tmp_path) -> None:
    write(tmp_path / "b", "old")
    assert listing(tmp_path) == OLD
    write(tmp_path / "b", "new")
    assert listing(tmp_path) == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_replaced_where_names_cannot_be_exchanged(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bundle_writer, "_exchange", lambda *_: False)
    write(tmp_path / "b", "old")
    write(tmp_path / "b", "new")
    assert listing(tmp_path) == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_bundle_and_no_rubbish(tmp_path, error) -> None:
    write(tmp_path / "b", "old")
    with pytest.raises(error), whole_directory(tmp_path / "b") as directory:
        (directory / MANIFEST).write_text("new")
        raise error
    assert listing(tmp_path) == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


KILLED = """
import os, signal, sys
from pathlib import Path
from lineside_models import bundle_writer
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
point = sys.argv[2]
if point == "between renames":
    bundle_writer._exchange = lambda *_: False
    rename = Path.rename
    def second(self, other, seen=[]):
        seen.append(self)
        return rename(self, other) if len(seen) == 1 else die()
    Path.rename = second
elif point == "before the swap":
    bundle_writer._swap = die
elif point == "after the swap":
    swap = bundle_writer._swap
    bundle_writer._swap = lambda *paths: (swap(*paths), die())
with bundle_writer.whole_directory(Path(sys.argv[1])) as directory:
    (directory / "bundle.toml").write_text("new")
    (directory / "sub").mkdir()
    if point == "while writing":
        die()
    (directory / "sub").rmdir()
    (directory / "weights").write_text("new")
"""


@pytest.mark.parametrize(
    ("point", "left"),
    [("while writing", OLD), ("before the swap", OLD), ("after the swap", NEW), ("between renames", None)],
)
def test_a_killed_build_leaves_one_whole_bundle_and_the_next_clears_up(tmp_path, point: str, left) -> None:
    write(tmp_path / "b", "old")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/daemon:{ROOT}/models"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "b"), point]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    if left is not None:
        found = listing(tmp_path)
        assert {name: found[name] for name in left} == left
    # A next build that fails must still find the old one back.
    with pytest.raises(RuntimeError), whole_directory(tmp_path / "b"):
        raise RuntimeError
    assert listing(tmp_path) == (left or OLD)
    write(tmp_path / "b", "newest")
    assert set(listing(tmp_path).values()) == {"newest"}
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_two_builds_of_one_bundle(tmp_path) -> None:
    with whole_directory(tmp_path / "b") as directory:
        (directory / MANIFEST).write_text("first")
        with pytest.raises(BuildError, match="another build"), whole_directory(tmp_path / "b"):
            pass
    assert listing(tmp_path) == {f"b/{MANIFEST}": "first"}


def test_what_is_not_a_bundle_is_not_replaced(tmp_path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    for target in (tmp_path / "home", tmp_path / "home" / "letter"):
        with pytest.raises(BuildError, match="not a bundle"), whole_directory(target):
            pass
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "x")
    assert listing(tmp_path / "empty")[MANIFEST] == "x"


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="file"), whole_directory(tmp_path / "file" / "b"):
        pass


def test_files_are_durable_before_the_swap(tmp_path, monkeypatch) -> None:
    """The order makes a power cut safe: every file, the directory, then the rename, then its parent."""
    events: list[str] = []
    fsync, swap = os.fsync, bundle_writer._swap

    def spy_fsync(handle: int) -> None:
        events.append(str(Path(f"/proc/self/fd/{handle}").readlink()).removeprefix(str(tmp_path)))
        fsync(handle)

    def spy_swap(*args) -> None:
        events.append("swap")
        swap(*args)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(bundle_writer, "_swap", spy_swap)
    write(tmp_path / "b", "x")
    assert sorted(events[:2]) == [f"/.b.partial/{MANIFEST}", "/.b.partial/weights"]
    assert events[2:] == ["/.b.partial", "swap", ""]
