"""`lineside power`: what is drawn and what is done about it. Knows not how either is found out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lineside.config import load_config
from lineside.errors import LinesideError
from lineside.telemetry import log

DAEMON_USER = "lineside"


def add_power(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    power = commands.add_parser("power", parents=[common], help="power and heat of this board")
    actions = power.add_subparsers(required=True, metavar="ACTION")
    sensors = actions.add_parser("sensors", parents=[common], help="what this machine has, without a daemon")
    sensors.set_defaults(run=_sensors)
    setting = actions.add_parser("set", parents=[common], help="change a running daemon's limit (operators)")
    setting.add_argument("--limit-w", type=float, metavar="W", help="watts; 0: no limit")
    setting.add_argument("--temperature-max-c", type=float, metavar="C", help="less power from here on")
    setting.add_argument(
        "--mode", metavar="NAME", help="a power mode of the board, by name or ID; '': as it was"
    )
    setting.add_argument("--reset", action="store_true", help="back to the configuration and its schedule")
    setting.set_defaults(run=_set)
    restoring = actions.add_parser(
        "restore", parents=[common], help="put back what a daemon left that did not stop in order"
    )
    restoring.set_defaults(run=_restore)
    helper = actions.add_parser("helper", parents=[common], help="the privileged helper (as root)")
    helper.add_argument("--socket", metavar="PATH", help="default: the configuration's; systemd's wins")
    helper.add_argument("--user", default=DAEMON_USER, help="who may ask beside root (default: lineside)")
    helper.set_defaults(run=_helper)


def _sensors(arguments: argparse.Namespace) -> None:
    import time  # noqa: PLC0415

    from lineside.power.board import discover  # noqa: PLC0415
    from lineside.power.nvpmodel import current_mode_id, read_modes  # noqa: PLC0415

    config = load_config(arguments.config).power
    root = Path(config.root)
    board = discover(root, jtop=config.jtop)
    board.sample_power(time.monotonic_ns())
    time.sleep(0.2)  # energy counters become power over an interval
    now_ns = time.monotonic_ns()
    power, heat = board.sample_power(now_ns), board.sample_heat(now_ns)
    mode_id = current_mode_id(root)
    shown = {
        "board": board.model,
        "total_w": None if power.total.usable is None else power.total.usable / 1000,
        "total": board.total.explanation,
        "rails_w": {r.name: r.value / 1000 if r.value is not None else r.detail for r in power.rails},
        "temperatures_c": {r.name: r.value if r.usable is not None else r.detail for r in heat.zones},
        "gpu_frequencies_hz": board.gpu.frequencies_hz if board.gpu else (),
        "gpu_power_limit_w": board.nvml.limit.watts() if board.nvml and board.nvml.limit else None,
        "gpu_load": heat.gpu_load.usable,
        "modes": {mode.name: mode.id for mode in read_modes(root).modes},
        "mode": mode_id,
        "over_current_events": {r.name: r.value for r in heat.over_current},
        "notes": board.notes,
    }
    board.close()
    print(json.dumps(shown, indent=2, ensure_ascii=False))


def _set(arguments: argparse.Namespace) -> None:
    from lineside.power.helper_client import RefusedError, ask  # noqa: PLC0415

    wanted = {name: getattr(arguments, name) for name in ("limit_w", "temperature_max_c", "mode")}
    given = {name: value for name, value in wanted.items() if value is not None}
    if arguments.reset == bool(given):
        hint = "name --limit-w, --temperature-max-c or --mode, or --reset alone"
        raise LinesideError("set power", "nothing to set, or both values and --reset", hint)
    path = str(load_config(arguments.config).power_control_path)
    try:
        print(ask(path, {"reset": True} if arguments.reset else given))
    except RefusedError as error:  # the daemon's own words, with what to do where there is something
        raise LinesideError("set power", str(error)) from None
    except OSError as error:
        hint = "is the daemon running, and may you enter its state directory?"
        raise LinesideError("set power", str(error), hint) from None


def _restore(arguments: argparse.Namespace) -> None:
    from lineside.power.board import discover  # noqa: PLC0415
    from lineside.power.start import restore_originals  # noqa: PLC0415

    config = load_config(arguments.config)
    log.set_up(config.telemetry.log_level)
    print(restore_originals(config, discover(Path(config.power.root))) or "nothing to put back")


def _helper(arguments: argparse.Namespace) -> None:
    from lineside.power.helper import run_helper  # noqa: PLC0415

    config = load_config(arguments.config)
    log.set_up(config.telemetry.log_level)
    run_helper(arguments.socket or config.power.helper_socket, arguments.user, Path(config.power.root))
