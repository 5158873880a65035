"""The users that the units run as: there, owning their files, in the groups that a board's GPU needs.

Looks only where the units are installed. Sensors need no group: the kernel shows them to all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lineside.doctor.board import is_jetson
from lineside.doctor.disk import state_directory
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine

DAEMON, BROKER = "lineside", "lineside-broker"
GPU_GROUPS = ("video", "render")
UNIT_PLACES = (
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
DROPIN = "lineside.service.d/jetson.conf"
# /etc/group of a machine that belongs to a domain may be long.
MAX_BYTES = 1 << 20
MAX_FILES = 1000
MAKE = "systemd-sysusers lineside.conf; scripts/install does it"


def look(machine: Machine) -> Iterator[Finding]:
    """Users, groups and owners."""
    if not any((machine.root / place / "lineside.service").exists() for place in UNIT_PLACES):
        yield finding("users.daemon", "not_applicable", "lineside.service is not installed")
        return
    users = user_ids(machine)
    for name, user in (("daemon", DAEMON), ("broker", BROKER)):
        yield _user(f"users.{name}", user, users.get(user))
    if is_jetson(machine):
        yield _groups(machine)
    state = state_directory(machine.config)
    if DAEMON in users and state.is_dir():
        yield _owners(state, users[DAEMON])


def user_ids(machine: Machine) -> dict[str, int]:
    """The machine's own users."""
    lines = (machine.read("etc/passwd", MAX_BYTES) or "").splitlines()
    words = [line.split(":") for line in lines]
    return {word[0]: int(word[2]) for word in words if len(word) >= 4 and word[2].isdecimal()}


def _user(name: str, user: str, uid: int | None) -> Finding:
    if uid is None:
        return finding(name, "problem", f"there is no user {user}: its unit cannot start", MAKE)
    if uid == 0:
        return finding(name, "problem", f"{user} is root under another name", f"delete it, then {MAKE}")
    return finding(name, "ok", f"{user} is user {uid}")


def _owners(state: Path, uid: int) -> Finding:
    """What root has left there, by an import without the daemon's user, stops the daemon."""
    name = "users.files"
    with os.scandir(state) as entries:
        others = [entry.name for entry in islice(entries, MAX_FILES) if _owner(entry) not in (uid, None)]
    if state.stat().st_uid != uid:
        others.insert(0, str(state))
    others = [other for other in others if other != "installed-version"]  # the installation's own
    if others:
        todo = f"chown -R {DAEMON}:{DAEMON} {state}; run imports as that user: docs/install.md"
        return finding(name, "problem", f"{', '.join(sorted(others)[:5])}: not user {DAEMON}'s", todo)
    return finding(name, "ok", f"{state} is user {DAEMON}'s")


def _owner(entry: os.DirEntry[str]) -> int | None:
    """None for one that has gone since."""
    try:
        return entry.stat(follow_symlinks=False).st_uid
    except FileNotFoundError:
        return None


def _groups(machine: Machine) -> Finding:
    name = "users.groups"
    members = {
        words[0]: words[3].split(",")
        for words in (line.split(":") for line in (machine.read("etc/group", MAX_BYTES) or "").splitlines())
        if len(words) == 4
    }
    if missing := [group for group in GPU_GROUPS if group not in members]:
        todo = f"groupadd --system {missing[0]}: the drop-in of lineside.service names it"
        return finding(name, "problem", f"there is no group {', '.join(missing)}", todo)
    if any((machine.root / place / DROPIN).exists() for place in UNIT_PLACES):
        return finding(name, "ok", f"the units' drop-in names {', '.join(GPU_GROUPS)}")
    outside = [group for group in GPU_GROUPS if DAEMON not in members[group]]
    if outside:
        todo = "run scripts/install again: it puts systemd/jetson.conf beside the unit"
        return finding(name, "warning", f"{DAEMON} is not in {', '.join(outside)}: no GPU", todo)
    return finding(name, "ok", f"{DAEMON} is in {', '.join(GPU_GROUPS)}")
