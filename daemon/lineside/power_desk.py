"""Power settings off the wire: who may, what may be asked, what then holds. Knows no wire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from lineside.diagnosis.report import field_of
from lineside.errors import LinesideError, Reason, RejectedError
from lineside.power.settings import Change, Settings, Wish
from lineside.security.roles import require_operator
from lineside.serving.request import Principal

log = logging.getLogger(__name__)

VALUES = ("limit_w", "temperature_max_c", "mode")


class PowerDesk:
    """Implements ports.PowerSetter. One thread writes, so that no event loop waits for the disk."""

    def __init__(self, settings: Settings, count: Callable[[str], None]) -> None:
        self._settings = settings
        self._count = count
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="power-desk")

    def wish(self) -> Wish:
        """See ports.PowerSetter."""
        return self._settings.wish()

    def set(self, values: Mapping[str, object], principal: Principal) -> Future[Wish]:
        """See ports.PowerSetter."""
        return self._thread.submit(self._set, values, principal)

    def close(self) -> None:
        """Finish what was asked."""
        self._thread.shutdown()

    def _set(self, values: Mapping[str, object], principal: Principal) -> Wish:
        require_operator(principal)
        change = read_change(values, principal.name)
        try:
            done = self._settings.change(change)
        except LinesideError as error:  # what the values' bounds cannot tell is the board's table of modes
            message = f"{error.message.removeprefix('mode: ')} ({error.hint})"
            raise RejectedError(Reason.INVALID, message, field="mode") from None
        except OSError as error:
            raise RejectedError(Reason.STORAGE, f"the setting cannot be kept: {error.strerror}") from None
        self._count("power_settings")
        log.info("power: %s", done, extra={"by": principal.name})
        return self._settings.wish()


def read_change(values: Mapping[str, object], by: str) -> Change:
    """The change that `values` ask for. Raises RejectedError(INVALID) that names the field."""
    given = {name: value for name, value in values.items() if value is not None}
    for name in given.keys() - {*VALUES, "clear"}:
        raise RejectedError(Reason.INVALID, f"{', '.join(VALUES)} or clear is known", field=name[:64])
    clear = given.pop("clear", False)
    if not isinstance(clear, bool):
        raise RejectedError(Reason.INVALID, "true or false is needed", field="clear")
    if clear == bool(given):
        raise RejectedError(Reason.INVALID, f"{', '.join(VALUES)}, or clear alone, is needed", field="clear")
    try:
        return msgspec.convert({**given, "reset": clear, "by": by}, Change)
    except msgspec.ValidationError as error:
        raise RejectedError(Reason.INVALID, str(error), field=field_of(str(error))) from None
