"""What is wrong with a file, gathered so that one run shows all of it. Knows no format."""

from __future__ import annotations

from typing import NamedTuple

from lineside.errors import LinesideError

MAX_SHOWN = 20


class ImportFailedError(LinesideError):
    """Nothing was imported; the message lists what is wrong and where."""


class Problem(NamedTuple):
    """`where` is file:line."""

    where: str
    field: str
    message: str

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.field}: {self.message}" if self.field else f"{self.where}: {self.message}"
        )


def failure(problems: list[Problem], hint: str = "correct the file and import it again") -> ImportFailedError:
    """The first problems, and how many more there are."""
    lines = [str(problem) for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        lines.append(f"and {len(problems) - MAX_SHOWN} more")
    return ImportFailedError("import manuals", "\n  ".join(lines), f"nothing was imported; {hint}")
