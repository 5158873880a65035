"""The values that the daemon found before it changed any, kept on the disk until they are put back.

They are written before the first change. What a crash leaves is put back by `lineside power restore`
(ExecStopPost) and by the next start.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class Originals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was there: a GPU's cap (its file, the frequency), the power mode with the one set instead, and a
    discrete GPU's power limit in milliwatts (`gpu` is its UUID)."""

    max_freq: str = ""
    hz: int = 0
    mode: int | None = None
    mode_set: int | None = None
    gpu: str = ""
    gpu_limit_mw: int = 0


NOTHING = Originals()


@dataclass(frozen=True, slots=True)
class OriginalsFile:
    """In the state directory."""

    path: Path

    def read(self) -> Originals:
        """What is to be put back; nothing, too, where the file says nothing of use."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Originals)
        except FileNotFoundError:
            return NOTHING
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what the board's settings were before cannot be read", extra={"error": str(error)})
            return NOTHING

    def keep(self, originals: Originals) -> None:
        """Write durably; without anything to put back there is no file. Raises OSError."""
        if originals == NOTHING:
            self.path.unlink(missing_ok=True)
            return
        scratch = self.path.with_suffix(".tmp")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(originals))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.path)

    def keep_cap(self, max_freq: Path, hz: int) -> None:
        """The GPU's cap as it is before ours; the first one that is kept stays."""
        originals = self.read()
        if not originals.max_freq:
            self.keep(msgspec.structs.replace(originals, max_freq=str(max_freq), hz=hz))

    def keep_mode(self, mode: int, mode_set: int) -> None:
        """The power mode as it is before ours, and ours."""
        originals = self.read()
        first = mode if originals.mode is None else originals.mode
        self.keep(msgspec.structs.replace(originals, mode=first, mode_set=mode_set))

    def keep_limit(self, gpu: str, gpu_limit_mw: int) -> None:
        """The GPU's power limit as it is before ours; the first one that is kept stays."""
        originals = self.read()
        if originals.gpu != gpu:
            self.keep(msgspec.structs.replace(originals, gpu=gpu, gpu_limit_mw=gpu_limit_mw))

    def forget_cap(self) -> None:
        """It has been put back."""
        self._forget(msgspec.structs.replace(self.read(), max_freq="", hz=0))

    def forget_mode(self) -> None:
        """It has been put back."""
        self._forget(msgspec.structs.replace(self.read(), mode=None, mode_set=None))

    def forget_limit(self) -> None:
        """It has been put back."""
        self._forget(msgspec.structs.replace(self.read(), gpu="", gpu_limit_mw=0))

    def _forget(self, rest: Originals) -> None:
        try:
            self.keep(rest)
        except OSError as error:
            log.warning("the next start puts the same back once more: %s", error)
