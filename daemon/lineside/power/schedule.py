"""Which limit holds at which time of day. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Watts = Annotated[float, msgspec.Meta(ge=0, le=10_000)]


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[power.schedule]]: a limit from `begin` to before `end`, local time; `end` may be on the next day."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    begin: Clock
    end: Clock
    limit_w: Watts

    def holds(self, clock: str) -> bool:
        """Whether the period contains a time of day, such as 21:30."""
        if self.begin <= self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


def limit_at(schedule: Sequence[Period], clock: str, otherwise_w: float) -> tuple[float, str]:
    """The limit in watts and where it comes from: the first period that holds, else the configuration."""
    for period in schedule:
        if period.holds(clock):
            return period.limit_w, f"schedule: {period.name}"
    return otherwise_w, "configuration"
