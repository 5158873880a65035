"""The board's power mode as an actuator: one of its table without a reboot; what was there is put back."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lineside.errors import LinesideError
from lineside.power.gpu import Gpu
from lineside.power.nvpmodel import Mode, current_mode_id, read_modes
from lineside.power.originals import OriginalsFile

log = logging.getLogger(__name__)

COMMAND_S = 20.0

SetMode = Callable[[int], object]


def check_mode(root: Path, wanted: str) -> Mode:
    """The mode, by name or ID, that can be taken now. Raises LinesideError with the reason."""
    return read_modes(root).choose(wanted, current_mode_id(root))


def run_nvpmodel(root: Path, mode_id: int) -> str:
    """Have the board take a mode of its table. Raises LinesideError, ValueError or OSError, with why."""
    mode = check_mode(root, str(mode_id))
    program = shutil.which("nvpmodel", path=f"{root / 'usr/sbin'}:{root / 'usr/bin'}")
    if program is None:
        raise ValueError("there is no nvpmodel on this machine")
    # Its exit status says little: what counts is the mode afterwards. Asked to reboot, it hears no.
    command = [program, "-m", str(mode.id)]
    try:
        subprocess.run(command, input=b"no\n", capture_output=True, timeout=COMMAND_S, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("nvpmodel does not come back") from None
    if current_mode_id(root) != mode.id:
        raise ValueError(f"nvpmodel did not take mode {mode.name}")
    return f"mode is {mode.name}"


@dataclass(slots=True)
class PowerMode:
    """Sets the mode that is asked. One that cannot be set is told; pacing goes on without."""

    root: Path
    gpu: Gpu | None
    file: OriginalsFile
    set_mode: SetMode
    trouble: str = field(default="", init=False)

    @property
    def name(self) -> str:
        """The mode that the board says it is in; empty where it has none."""
        return name_of(self.root, current_mode_id(self.root))

    def apply(self, wanted: str) -> bool:
        """Set what is asked; empty: what was there. Whether the board is in another mode now."""
        self.trouble, before = "", current_mode_id(self.root)
        if not wanted:
            self.restore()
            return current_mode_id(self.root) != before
        try:
            mode = check_mode(self.root, wanted)
            if before is None or mode.id == before:
                return False
            if self.gpu is not None:  # a mode brings a cap of its own
                self.file.keep_cap(self.gpu.max_freq, self.gpu.cap_hz())
            self.file.keep_mode(before, mode.id)
            self.set_mode(mode.id)
        except (OSError, ValueError, LinesideError) as error:
            why = error.message if isinstance(error, LinesideError) else error
            self.trouble = f"power mode {wanted} was not set: {why}"
            log.warning("%s", self.trouble)
            return current_mode_id(self.root) != before
        log.info("the power mode is %s", mode.name)
        return True

    def restore(self) -> str:
        """Put back what was there."""
        return restore_mode(self.root, self.file, self.set_mode)


def restore_mode(root: Path, file: OriginalsFile, set_mode: SetMode) -> str:
    """Put back the mode that the file holds, unless somebody has set another since; says what was done."""
    originals, now = file.read(), current_mode_id(root)
    if originals.mode is None:
        return ""
    if now not in (originals.mode, originals.mode_set):
        file.forget_mode()
        return "the power mode is left as somebody else has set it"
    try:
        if now != originals.mode:
            set_mode(originals.mode)
    except (OSError, ValueError, LinesideError) as error:
        log.warning("the power mode was not put back: %s", error)
        return f"the power mode was not put back: {error}"
    file.forget_mode()
    return f"the power mode is {name_of(root, originals.mode)} again"


def name_of(root: Path, mode_id: int | None) -> str:
    """A mode's name in the board's table, else its ID; empty for none."""
    if mode_id is None:
        return ""
    mode = read_modes(root).by_id(mode_id)
    return mode.name if mode else str(mode_id)
