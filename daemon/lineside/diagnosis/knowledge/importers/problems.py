"""What is wrong with a file, gathered so that one run shows all of it. Knows no format."""

from __future__ import annotations

from typing import NamedTuple

from lineside.errors import LinesideError

MAX_SHOWN = 20


class ImportFailedError(LinesideError):
    """Nothing was imported; the message lists what is wrong and where."""


class Problem(NamedTuple):
    """`where` is file:line, `hint` what to do about it."""

    where: str
    field: str
    message: str
    hint: str = "correct the file and import it again"

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.field}: {self.message}" if self.field else f"{self.where}: {self.message}"
        )


def failure(problems: list[Problem], operation: str = "import manuals") -> ImportFailedError:
    """The first problems, how many more there are, and what to do about any of them."""
    lines = [str(problem) for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        lines.append(f"and {len(problems) - MAX_SHOWN} more")
    hints = ["nothing was imported", *dict.fromkeys(problem.hint for problem in problems)]
    return ImportFailedError(operation, "\n  ".join(lines), "; ".join(hints))
