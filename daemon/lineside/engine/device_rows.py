"""Logits that stay on the device until somebody asks for them. Knows no plan and no sampler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lineside.engine.cuda import Device

# Above this many ids a whole row is the smaller effort: each id goes up, each value comes down.
GATHER_LIMIT = 4096


class Reader:
    """Brings logits to the host: whole rows, or some ids of a row through small pinned buffers."""

    def __init__(self, device: Device, vocab_size: int) -> None:
        self._device, self._vocab_size = device, vocab_size
        count = min(GATHER_LIMIT, vocab_size)
        self._ids, self._found = device.pinned(count, np.int32), device.pinned(count, np.float32)
        self._device_ids, self._device_found = (device.allocate(4 * count) for _ in range(2))

    def whole(self, address: int) -> NDArray[np.float32]:
        """All of a row."""
        values = np.empty(self._vocab_size, np.float32)
        with self._device.active():
            self._device.download_now(values, address)
        return values

    def some(self, address: int, ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """The logits of `ids`."""
        if len(ids) > len(self._ids):
            return self.whole(address)[ids]
        self._ids[: len(ids)] = ids
        with self._device.active():
            self._device.upload(int(self._device_ids), self._ids[: len(ids)])
            self._device.gather(address, int(self._device_ids), int(self._device_found), len(ids))
            self._device.download(self._found[: len(ids)], int(self._device_found))
            self._device.wait()
        found: NDArray[np.float32] = self._found[: len(ids)].copy()
        return found


@dataclass(slots=True)
class DeviceRow:
    """One position's logits; see engine.base.LogitsRow."""

    reader: Reader
    address: int
    token: int
    logprob: float
    _host: NDArray[np.float32] | None = field(default=None, repr=False)

    def best(self) -> tuple[int, float]:
        """The likeliest token and its probability, which the device has worked out."""
        return self.token, float(np.exp(self.logprob))

    def __getitem__(self, ids: NDArray[np.intp]) -> NDArray[np.float32]:
        if self._host is not None:
            return self._host[ids]
        return self.reader.some(self.address, ids)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.float32]:
        if self._host is None:
            self._host = self.reader.whole(self.address)
        return self._host if dtype is None else self._host.astype(dtype)
