"""Calibration prompts as windows of token ids. Knows no model and no graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lineside.engine.bundle import Bundle
from lineside.plain_files import read_plain
from lineside.serving.tokenizer import Tokenizer
from lineside_models.calibration.record import CHUNK
from lineside_models.errors import BuildError

_WINDOW = 2 * CHUNK
MAX_TOKENS = 8192
MAX_FILE_BYTES = 4 << 20
_DATA = Path(__file__).parents[1] / "data"


def bundled_prompts(languages: Sequence[str]) -> list[Path]:
    """The prompts that come with the build step, in the languages that there are; else in English."""
    found = [_DATA / f"prompts.{language}.txt" for language in languages]
    return [path for path in found if path.is_file()] or [_DATA / "prompts.en.txt"]


def prompt_windows(bundle: Bundle, files: Sequence[Path]) -> list[list[int]]:
    """Each paragraph of the files as a user's turn, one after another, in windows of the same length.

    At most MAX_TOKENS, taken from the files in turn.
    """
    tokenizer = Tokenizer(bundle)
    window = min(_WINDOW, bundle.manifest.max_seq_len // CHUNK * CHUNK)
    if not window:
        message = f"the bundle's max_seq_len is {bundle.manifest.max_seq_len}, calibration needs {CHUNK}"
        raise BuildError("calibrate", message, "build the bundle with a larger --max-seq-len")
    share = MAX_TOKENS // len(files) // window * window
    windows = []
    for file in files:
        ids = [token for text in _paragraphs(file) for token in _turn(tokenizer, text)][:share]
        windows += [ids[start : start + window] for start in range(0, len(ids) - window + 1, window)]
    if not windows:
        message = f"{files[0]} has fewer than {window} tokens"
        raise BuildError("calibrate", message, "give a longer --calibration file")
    return windows


def _turn(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(tokenizer.chat([("user", text)]) or text)


def _paragraphs(file: Path) -> Iterator[str]:
    hint = (
        "give --calibration a text file in UTF-8, prompts separated by blank lines; "
        "a few thousand tokens are enough"
    )
    try:
        text = read_plain(file, MAX_FILE_BYTES).decode()
    except OSError as error:
        raise BuildError("calibrate", f"{file}: {error.strerror}", hint) from error
    except UnicodeDecodeError as error:
        raise BuildError("calibrate", f"{file}: {error}", hint) from error
    return (paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip())
