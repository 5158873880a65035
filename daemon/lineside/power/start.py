"""From the configuration to a running governor, and the way back from one that crashed."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

from lineside.config import Config
from lineside.power.actuators import Actuators
from lineside.power.board import Board, discover
from lineside.power.control import start_control
from lineside.power.governor import Governor
from lineside.power.gpu import Gpu
from lineside.power.gpu_cap import GpuCap, SetCap, restore, write_cap
from lineside.power.gpu_limit import GpuLimit, SetLimit, restore_limit, write_limit
from lineside.power.helper_client import set_limit_through_helper, set_mode_through_helper, set_through_helper
from lineside.power.nvml import GPU_RAIL, NvmlLimit
from lineside.power.nvpmodel import STATUS
from lineside.power.originals import OriginalsFile
from lineside.power.pacer import Pacer
from lineside.power.power_mode import PowerMode, SetMode, restore_mode, run_nvpmodel
from lineside.power.settings import Settings

log = logging.getLogger(__name__)


def start_governor(config: Config, pacer: Pacer, settings: Settings) -> Governor:
    """Discover, put back what a crash left, begin to sample."""
    power = config.power
    board = discover(Path(power.root), jtop=power.jtop)
    restore_originals(config, board)
    file = OriginalsFile(config.power_originals_path)
    cap = None if board.gpu is None else GpuCap(board.gpu, file, setter_of(board.gpu, power.helper_socket))
    mode = PowerMode(board.root, board.gpu, file, mode_setter(board.root, power.helper_socket))
    limit = limit_of(board)
    gpu = None if limit is None else GpuLimit(limit, file, limit_setter(limit, power.helper_socket))
    governor = Governor(board, pacer, settings.wish, Actuators(cap, mode, gpu), config.engine.slots)
    governor.control = start_control(settings, config.power_control_path, power.operators)
    governor.start()
    log.info(
        "power is measured" if board.total.rails else "power cannot be measured",
        extra={"board": board.model, "total": board.total.explanation, "notes": "; ".join(board.notes)},
    )
    return governor


def restore_originals(config: Config, board: Board) -> str:
    """Put back what a daemon left that did not stop in order; says what was done."""
    helper, file = config.power.helper_socket, OriginalsFile(config.power_originals_path)
    set_cap: SetCap = _no_gpu if board.gpu is None else setter_of(board.gpu, helper)
    # The mode first: it brings a cap of its own.
    limit = board.nvml.limit if board.nvml else None
    set_limit: SetLimit = _no_gpu if limit is None else limit_setter(limit, helper)
    parts = (
        restore_mode(board.root, file, mode_setter(board.root, helper)),
        restore(board.gpu, file, set_cap),
        restore_limit(limit, file, set_limit),
    )
    done = "; ".join(filter(None, parts))
    if done:
        log.warning("%s", done)
    return done


def setter_of(gpu: Gpu, helper_socket: str) -> SetCap:
    """By its file where the daemon may write that, else through the helper."""
    if os.access(gpu.max_freq, os.W_OK):
        return functools.partial(write_cap, gpu)
    return functools.partial(set_through_helper, helper_socket)


def limit_of(board: Board) -> NvmlLimit | None:
    """The GPU's power limit, where it is of use: its power is a part of what is measured."""
    return board.nvml.limit if board.nvml and GPU_RAIL in board.total.rails else None


def limit_setter(limit: NvmlLimit, helper_socket: str) -> SetLimit:
    """By NVML where the daemon is root, else through the helper: who may shows only when it is set."""
    if os.geteuid() == 0:
        return functools.partial(write_limit, limit)
    return functools.partial(set_limit_through_helper, helper_socket)


def mode_setter(root: Path, helper_socket: str) -> SetMode:
    """By nvpmodel itself where the daemon may write what it writes, else through the helper."""
    if os.access(root / STATUS, os.W_OK):
        return functools.partial(run_nvpmodel, root)
    return functools.partial(set_mode_through_helper, helper_socket)


def _no_gpu(_value: int) -> None:
    raise OSError("there is no GPU")
