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


class Originals(msgspec.Struct, frozen=True):
    """A GPU's cap as it was: the file that holds it, and the frequency."""

    max_freq: str
    hz: int


@dataclass(frozen=True, slots=True)
class OriginalsFile:
    """In the state directory."""

    path: Path

    def read(self) -> Originals | None:
        """What is to be put back; None where nothing is, or where the file says nothing of use."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Originals)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what the GPU's clock was before cannot be read", extra={"error": str(error)})
            return None

    def keep(self, originals: Originals) -> None:
        """Write durably. Raises OSError."""
        scratch = self.path.with_suffix(".tmp")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(originals))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.path)

    def forget(self) -> None:
        """They have been put back."""
        self.path.unlink(missing_ok=True)
