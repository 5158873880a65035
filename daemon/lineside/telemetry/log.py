"""Logging: one line a record on standard error, fields as key=value. Knows nothing of what is logged."""

from __future__ import annotations

import logging
import os
import time

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# journald reads a leading <N> as the line's priority.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class LineFormatter(logging.Formatter):
    """Time, level, logger, message, extra fields. Under journald, the priority in place of the time."""

    def __init__(self, *, journald: bool) -> None:
        super().__init__()
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """One line, apart from a trace."""
        fields = [f"{key}={_value(value)}" for key, value in record.__dict__.items() if key not in _PLAIN]
        line = " ".join([f"{record.name}: {record.getMessage()}".replace("\n", " "), *fields])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        if self._journald:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}"
        instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        return f"{instant}.{int(record.msecs):03d} {record.levelname:<7} {line}"


def set_level(level: str) -> None:
    """Log from `level` on."""
    logging.getLogger().setLevel(level.upper())


def set_up(level: str) -> None:
    """Install the formatter for the whole process."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(journald="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # At debug, these log every event loop that they see, which drowns our own.
    for chatty in ("asyncio", "grpc"):
        logging.getLogger(chatty).setLevel(logging.INFO)


def _value(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return f'"{text}"' if " " in text else text
