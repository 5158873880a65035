"""`lineside backup`, `restore` and `support-bundle`. Knows not how they are done."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside.backup.take import Progress
    from lineside.config import Config


def add_backup(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    saving = commands.add_parser(
        "backup", parents=[common], help="save the state, while the daemon runs or not"
    )
    saving.add_argument("file", type=Path, metavar="FILE", help="the archive; one that is there is replaced")
    saving.add_argument("--json", action="store_true", help="what was saved, for programs")
    saving.set_defaults(run=_backup)
    restoring = commands.add_parser(
        "restore", parents=[common], help="put a backup back; the daemon is stopped"
    )
    restoring.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the archive")
    restoring.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="another system's root"
    )
    restoring.add_argument(
        "--keep-configuration", action="store_true", help="the data alone, to where this configuration says"
    )
    restoring.add_argument("--finish", action="store_true", help="only finish a restore that was cut off")
    restoring.add_argument("--json", action="store_true", help="what was restored, for programs")
    restoring.set_defaults(run=_restore)
    helping = commands.add_parser(
        "support-bundle", parents=[common], help="facts, settings and log without secrets, for whoever helps"
    )
    helping.add_argument("file", type=Path, metavar="FILE", help="a .tar.gz; one that is there is replaced")
    helping.add_argument("--log", type=Path, metavar="FILE", help="a log; default: journald's")
    helping.add_argument("--with-hosts", action="store_true", help="do not hide names and addresses of hosts")
    helping.set_defaults(run=_support_bundle)


def _backup(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415

    from lineside.backup.parts import place  # noqa: PLC0415
    from lineside.backup.take import back_up  # noqa: PLC0415

    with _progress() as progress:
        manifest = back_up(place(arguments.config), arguments.file, progress)
    saved = arguments.file.stat().st_size
    if arguments.json:
        shown = {"file": str(arguments.file), "bytes": saved, "manifest": msgspec.to_builtins(manifest)}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print(f"{arguments.file}: {saved} bytes, {len(manifest.files)} files")
    print("not in it, keep copies of your own: " + ", ".join(manifest.left_out))


def _support_bundle(arguments: argparse.Namespace) -> None:
    from lineside.backup.support import support_bundle  # noqa: PLC0415

    names = support_bundle(
        arguments.config, arguments.file, _ask_status, log=arguments.log, show_hosts=arguments.with_hosts
    )
    print(f"{arguments.file}: {', '.join(names)}; look into it before you send it")


def _ask_status(config: Config) -> Any:
    import msgspec  # noqa: PLC0415

    from lineside.transport.grpc import client  # noqa: PLC0415

    return msgspec.to_builtins(client.status(client.place_of(config)))


def _restore(arguments: argparse.Namespace) -> None:
    from lineside.backup.parts import place  # noqa: PLC0415
    from lineside.backup.restore import finish_begun, restore  # noqa: PLC0415

    here = place(arguments.config, arguments.root)
    if arguments.finish:
        finish_begun(here)
        return
    if arguments.file is None:
        raise LinesideError("restore", "no backup is named", "lineside restore FILE")
    with _progress() as progress:
        done = restore(here, arguments.file, progress, configuration=not arguments.keep_configuration)
    made, kept = done.manifest, [str(path) for path in done.kept]
    if arguments.json:
        shown = {"created_at": made.created_at, "version": made.version, "machine": made.machine}
        print(json.dumps(shown | {"restored": done.names, "kept": kept}, indent=2, ensure_ascii=False))
        return
    print(f"restored {len(done.names)} files, saved {made.created_at} by lineside {made.version}")
    print("not in it, have to be there already: " + ", ".join(made.left_out))
    for path in kept:
        print(f"what was there is kept: {path}")


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on standard error, where a person sees it."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(task, description=what, completed=done, total=total)
