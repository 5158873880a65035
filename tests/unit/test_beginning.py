"""The state is taken before anything is loaded, and what was begun ends with the start that began it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.tiny import tiny_bundle

from lineside import loading
from lineside.beginning import begun
from lineside.config import BundleConfig, Config, DiagnosisConfig
from lineside.engine.bundle import Bundle, BundleError
from lineside.engine.choose import Choice
from lineside.errors import LinesideError


def config(state: Path, *, mode: str = "auto", bundle: str = "") -> Config:
    return Config(
        state_dir=str(state),
        diagnosis=DiagnosisConfig(mode=mode),  # type: ignore[arg-type]
        bundle=BundleConfig(bundle),
    )


class FakeEngine:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    found = tiny_bundle(tmp_path / "bundle")
    monkeypatch.setattr(loading, "read_manifest", lambda _: found.manifest)
    return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    opened = FakeEngine()
    choice = Choice(opened, "fake", "as configured", {})  # type: ignore[arg-type]
    monkeypatch.setattr(loading, "choose", lambda *_: choice)
    return opened


def test_rules_alone_load_nothing(tmp_path: Path):
    with begun(config(tmp_path, mode="rules")) as beginning:
        assert beginning.loading is None


def test_a_second_daemon_on_the_same_state_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "read_manifest", lambda _: pytest.fail("it has begun to load"))
    with (
        begun(config(tmp_path, mode="rules")),
        pytest.raises(LinesideError, match="taken"),
        begun(config(tmp_path)),
    ):
        pass


def test_without_a_bundle_the_state_is_free_again(tmp_path: Path):
    with pytest.raises(BundleError, match="no bundle"), begun(config(tmp_path)) as beginning:
        assert beginning.loading is not None, "what else is wrong is found first"
        beginning.loading.finish()
    with begun(config(tmp_path, mode="rules")):
        pass


def test_a_start_that_fails_closes_the_engine_that_it_did_not_take(
    tmp_path: Path, bundle: Bundle, engine: FakeEngine
):
    with pytest.raises(OSError, match="busy"), begun(config(tmp_path, bundle=str(bundle.path))):
        raise OSError("busy")
    assert engine.closed


def test_an_engine_that_was_taken_stays_open_when_the_start_is_over(
    tmp_path: Path, bundle: Bundle, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "warmed_up", lambda *arguments: arguments[-1])
    monkeypatch.setattr(loading, "_tell", lambda *_: None)
    with begun(config(tmp_path, bundle=str(bundle.path))) as beginning:
        assert beginning.loading is not None
        loaded = beginning.loading.finish()
    assert loaded.choice.engine is engine
    assert not engine.closed


def test_what_is_wrong_with_a_file_is_told_though_an_engine_could_be_opened(
    tmp_path: Path, bundle: Bundle, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: Bundle) -> None:
        raise BundleError("open bundle", "damaged", "build it again")

    monkeypatch.setattr(loading, "verify", refuse)
    with (
        pytest.raises(BundleError, match="damaged"),
        begun(config(tmp_path, bundle=str(bundle.path))) as beginning,
    ):
        assert beginning.loading is not None
        beginning.loading.finish()
    assert engine.closed


def test_what_keeps_python_busy_begins_last(
    tmp_path: Path, bundle: Bundle, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    for name in ("_load_text", "verify", "choose"):
        known = getattr(loading, name)

        def noted(*arguments, name=name, known=known):
            order.append(name)
            return known(*arguments)

        monkeypatch.setattr(loading, name, noted)
    # One at a time, in the order in which they are begun.
    monkeypatch.setattr(loading, "ThreadPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    with begun(config(tmp_path, bundle=str(bundle.path))):
        pass
    assert order == ["choose", "verify", "_load_text"]
