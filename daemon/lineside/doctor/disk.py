"""The disk under the state directory: space, file system, and whether it can be written. Knows no wear."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lineside.config import Config
from lineside.doctor.finding import Finding, State, finding
from lineside.doctor.machine import Machine

MIB = 1 << 20
GIB = 1 << 30
# Below this nothing is sure to be written any more, the journal least.
LITTLE_BYTES = 200 * MIB
LITTLE_INODES = 0.01
FLEETING = ("tmpfs", "ramfs", "overlay")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")
WITHOUT_RIGHTS = ("vfat", "exfat", "msdos")
# With these a power cut loses or garbles what was acknowledged.
RISKY_OPTIONS = ("nobarrier", "barrier=0", "data=writeback", "nolog")
MAX_MOUNTS_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system where it is mounted; `device` is MAJOR:MINOR."""

    point: str
    device: str
    kind: str
    options: tuple[str, ...]


def state_directory(config: Config) -> Path:
    """Where the daemon's data live."""
    return config.state_path("", ".")


def existing(path: Path) -> Path:
    """The path itself, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def find_mount(machine: Machine, path: Path) -> Mount | None:
    """The file system that holds `path`."""
    resolved = str(existing(path).resolve())
    holding = [
        m for m in _mounts(machine) if resolved == m.point or resolved.startswith(m.point.rstrip("/") + "/")
    ]
    # The longest point holds it, and of several at one point the last hides those before.
    return max(enumerate(holding), key=lambda pair: (len(pair[1].point), pair[0]), default=(0, None))[1]


def look(machine: Machine) -> Iterator[Finding]:
    """All that concerns the state directory."""
    state = state_directory(machine.config)
    yield _directory(state)
    yield from _space(machine.config, existing(state))
    yield _file_system(find_mount(machine, state))


def _directory(state: Path) -> Finding:
    name = "disk.state"
    if not state.exists():
        todo = "the daemon, or an import as its user, makes it"
        return finding(name, "note", f"{state} is not there yet", todo)
    if not state.is_dir():
        return finding(name, "problem", f"{state} is no directory", "move it away, or set state_dir")
    if os.statvfs(state).f_flag & os.ST_RDONLY:
        todo = "the kernel mounts read-only after disk errors: see dmesg, check the file system, remount"
        return finding(name, "problem", f"{state} is mounted read-only", todo)
    if os.access(state, os.W_OK):
        return finding(name, "ok", f"{state} can be written")
    owner = state.stat().st_uid
    if owner not in (0, os.geteuid()):
        return finding(name, "unknown", f"{state} belongs to user {owner}", "run it as that user, or as root")
    todo = "give it to the daemon's user: chown -R lineside:lineside"
    return finding(name, "problem", f"{state} cannot be written", f"{todo} {state}")


def _space(config: Config, place: Path) -> Iterator[Finding]:
    there = os.statvfs(place)
    free, total = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
    seen = f"{free / GIB:.2f} GiB of {total / GIB:.1f} GiB free at {place}"
    growth = _growth(config)
    state: State = "ok"
    todo = ""
    if free < LITTLE_BYTES:
        state = "problem"
        todo = "make room: old bundles (bundle.old), journalctl --vacuum-size=100M, apt-get clean"
    elif free < growth + LITTLE_BYTES:
        state = "warning"
        seen = f"{seen}; journal and feedback may grow by {growth / GIB:.2f} GiB"
        todo = "make room, or lower [journal] max_bytes and [feedback] max_bytes"
    yield finding("disk.space", state, seen, todo, disk_free_bytes=free, disk_total_bytes=total)
    if there.f_files and there.f_favail < there.f_files * LITTLE_INODES:
        seen = f"{there.f_favail} of {there.f_files} inodes free at {place}"
        yield finding("disk.inodes", "warning", seen, "many small files fill it: find and delete them")


def _growth(config: Config) -> int:
    """What may still come."""
    bounds = (
        (config.journal_path, config.journal.max_bytes),
        (config.feedback_path, config.feedback.max_bytes),
    )
    return sum(max(0, most - _size(path)) for path, most in bounds)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _file_system(mount: Mount | None) -> Finding:
    name = "disk.filesystem"
    if mount is None:
        return finding(name, "unknown", "/proc/self/mountinfo does not say what holds the state directory")
    seen = f"{mount.kind} at {mount.point}"
    if mount.kind in FLEETING:
        todo = "what is there may be gone after a reboot: set state_dir to a place on the disk"
        return finding(name, "warning", seen, todo)
    if mount.kind in REMOTE:
        return finding(
            name, "warning", seen, "the journal needs a disk of this machine: set state_dir to one"
        )
    if mount.kind in WITHOUT_RIGHTS:
        return finding(name, "problem", seen, "it knows no owners and no journal: set state_dir to ext4")
    if risky := sorted(set(mount.options) & set(RISKY_OPTIONS)):
        todo = f"remove {', '.join(risky)} from /etc/fstab: a power cut could lose acknowledged reports"
        return finding(name, "warning", f"{seen} with {', '.join(risky)}", todo)
    return finding(name, "ok", f"{seen} ({','.join(mount.options)})")


def _mounts(machine: Machine) -> Iterator[Mount]:
    """/proc/self/mountinfo: ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS...] - KIND SOURCE OPTIONS."""
    for line in (machine.read("proc/self/mountinfo", MAX_MOUNTS_BYTES) or "").splitlines():
        left, _, right = line.partition(" - ")
        words, more = left.split(), right.split()
        if len(words) >= 6 and len(more) >= 3:
            options = (*words[5].split(","), *more[2].split(","))
            yield Mount(_unescape(words[4]), words[2], more[0], tuple(dict.fromkeys(options)))


def _unescape(point: str) -> str:
    """Spaces and the like are octal there."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
