"""All checks, in the order in which their findings are shown."""

from __future__ import annotations

from lineside.doctor import (
    board,
    broker,
    bundle,
    certificates,
    clock,
    data,
    disk,
    gpu,
    memory,
    network,
    permissions,
    ports,
    power,
    units,
    users,
    wear,
)
from lineside.doctor.examine import Check

# The digests of a large bundle on a slow disk.
DEEP_S = 600.0
BROKER_S = 25.0


def all_checks(deep: bool = False) -> tuple[Check, ...]:
    """Each with its time."""
    return (
        Check("board", board.look),
        Check("gpu", gpu.look),
        Check("memory", memory.look),
        Check("disk", disk.look),
        Check("wear", wear.look),
        Check("clock", clock.look, 20.0),
        Check("daemon", ports.look),
        Check("broker", broker.look, BROKER_S),
        Check("certificates", certificates.look),
        Check("network", network.look),
        Check("permissions", permissions.look),
        Check("users", users.look),
        Check("power", power.look),
        Check("bundle", bundle.look, DEEP_S) if deep else Check("bundle", bundle.look),
        Check("knowledge", data.look_at_knowledge, 60.0),
        Check("journal", data.look_at_journal, 60.0),
        Check("units", units.look),
    )
