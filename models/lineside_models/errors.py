"""What can go wrong in the build step. Knows nothing of terminals or exit codes."""

from __future__ import annotations

from lineside.errors import LinesideError


class BuildError(LinesideError):
    """A bundle that cannot be built as asked."""


class CheckpointError(BuildError):
    """A checkpoint that cannot be read, or that this version does not support."""


class RoomError(BuildError):
    """Too little memory, or too little of a disk."""


class FetchError(BuildError):
    """A checkpoint that could not be fetched whole."""
