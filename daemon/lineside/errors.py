"""The one error family and the one closed list of reasons. Knows nothing of transports."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass


class LinesideError(Exception):
    """Something an operator can act on: the operation that failed, what happened, and what to do next."""

    def __init__(self, operation: str, message: str, hint: str = "") -> None:
        super().__init__(operation, message, hint)
        self.operation = operation
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        hint = f"\n  what to do: {self.hint}" if self.hint else ""
        return f"{self.operation}: {self.message}{hint}"


class Reason(str, enum.Enum):
    """Why a request was not answered as asked. The value is what JSON shows."""

    INVALID = "invalid"
    TOO_LONG = "too_long"
    NOT_FOUND = "not_found"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    OVERLOAD = "overload"
    POWER = "power"
    DEADLINE = "deadline"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    ENGINE_FAULT = "engine_fault"
    STORAGE = "storage"
    POISON = "poison"
    INTERNAL = "internal"
    NO_KB_HIT = "no_kb_hit"
    LOW_CONF = "low_conf"
    CONFLICT = "conflict"
    GROUPED = "grouped"


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """How each edge shows a reason: gRPC status name, log level, and whether asking again later can help."""

    grpc_status: str
    log_level: int
    retry: bool


REASONS: dict[Reason, ReasonRow] = {
    Reason.INVALID: ReasonRow("INVALID_ARGUMENT", logging.INFO, False),
    Reason.TOO_LONG: ReasonRow("INVALID_ARGUMENT", logging.INFO, False),
    Reason.NOT_FOUND: ReasonRow("NOT_FOUND", logging.INFO, False),
    Reason.UNAUTHENTICATED: ReasonRow("UNAUTHENTICATED", logging.WARNING, False),
    Reason.FORBIDDEN: ReasonRow("PERMISSION_DENIED", logging.WARNING, False),
    Reason.OVERLOAD: ReasonRow("RESOURCE_EXHAUSTED", logging.WARNING, True),
    Reason.POWER: ReasonRow("RESOURCE_EXHAUSTED", logging.WARNING, True),
    Reason.DEADLINE: ReasonRow("DEADLINE_EXCEEDED", logging.WARNING, False),
    Reason.UNREACHABLE: ReasonRow("DEADLINE_EXCEEDED", logging.WARNING, False),
    Reason.EXPIRED: ReasonRow("DEADLINE_EXCEEDED", logging.INFO, False),
    Reason.CANCELLED: ReasonRow("CANCELLED", logging.INFO, False),
    Reason.DRAINING: ReasonRow("UNAVAILABLE", logging.INFO, True),
    Reason.NOT_READY: ReasonRow("UNAVAILABLE", logging.WARNING, True),
    Reason.ENGINE_FAULT: ReasonRow("INTERNAL", logging.ERROR, False),
    Reason.STORAGE: ReasonRow("UNAVAILABLE", logging.ERROR, True),
    Reason.POISON: ReasonRow("FAILED_PRECONDITION", logging.ERROR, False),
    Reason.INTERNAL: ReasonRow("INTERNAL", logging.ERROR, False),
    Reason.NO_KB_HIT: ReasonRow("OK", logging.INFO, False),
    Reason.LOW_CONF: ReasonRow("OK", logging.INFO, False),
    Reason.CONFLICT: ReasonRow("OK", logging.INFO, False),
    Reason.GROUPED: ReasonRow("OK", logging.INFO, False),
}


class RejectedError(Exception):
    """A request that is refused or given up, with its reason. Each transport turns it into its own answer."""

    def __init__(self, reason: Reason, message: str, *, field: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_after_ms = retry_after_ms
