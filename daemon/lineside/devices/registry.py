"""Which devices there are, and what their tags and alarm bits mean. Knows nothing of files or reports."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, TypeVar

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Short = Annotated[str, msgspec.Meta(max_length=128)]
Note = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
MAX_NOTES = 8
# Ends an id that stands for every device whose id begins so: L3/*.
ANY = "*"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. What a report says itself wins over what stands here."""

    id: Id
    type: Short = ""
    vendor: Short = ""
    model: Short = ""
    unit: Short = ""
    fw: Short = ""
    code_base: Literal["", "dec", "hex", "any"] = ""
    location: Short = ""
    language: Literal["", "en", "zh"] = ""
    safety: Annotated[tuple[Note, ...], msgspec.Meta(max_length=MAX_NOTES)] = ()

    @property
    def key(self) -> str:
        """Under which it stands once."""
        return self.id


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """A signal. Raw readings times `scale` plus `offset` are in `unit`, in which the limits are."""

    tag: Id
    device: Short = ""
    name: Short = ""
    unit: Annotated[str, msgspec.Meta(max_length=32)] = ""
    scale: float = 1.0
    offset: float = 0.0
    lo: float | None = None
    hi: float | None = None

    @property
    def key(self) -> str:
        """Under which it stands once."""
        return f"{self.device}|{_folded(self.tag)}"


class Bit(msgspec.Struct, frozen=True, kw_only=True):
    """A bit of an alarm word, and the code that it stands for."""

    word: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    bit: Annotated[int, msgspec.Meta(ge=0, le=63)]
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    device: Short = ""
    text: Annotated[str, msgspec.Meta(max_length=500)] = ""

    @property
    def key(self) -> str:
        """Under which it stands once."""
        return f"{self.device}|{_folded(self.word)}|{self.bit}"


_Row = TypeVar("_Row", Tag, Bit)


class Registry(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All of it, as one version."""

    version: str = "0"
    devices: tuple[Device, ...] = ()
    tags: tuple[Tag, ...] = ()
    bits: tuple[Bit, ...] = ()

    def device(self, device_id: str) -> Device | None:
        """The device of that id, else the entry for the longest beginning of it."""
        return next((self._devices[key] for key in _reaches(device_id) if key in self._devices), None)

    def tag(self, device_id: str, tag: str) -> Tag | None:
        """What the tag means on that device."""
        folded = _folded(tag)
        keys = (f"{reach}|{folded}" for reach in _reaches(device_id))
        return next((self._tags[key] for key in keys if key in self._tags), None)

    def bit(self, device_id: str, word: str, bit: int) -> Bit | None:
        """What the bit of the alarm word means on that device."""
        folded = _folded(word)
        keys = (f"{reach}|{folded}|{bit}" for reach in _reaches(device_id))
        return next((self._bits[key] for key in keys if key in self._bits), None)

    @cached_property
    def _devices(self) -> dict[str, Device]:
        return {one.key: one for one in self.devices}

    @cached_property
    def _tags(self) -> dict[str, Tag]:
        return _by_key(self.tags)

    @cached_property
    def _bits(self) -> dict[str, Bit]:
        return _by_key(self.bits)


def _by_key(rows: tuple[_Row, ...]) -> dict[str, _Row]:
    return {row.key: row for row in rows}


def _reaches(device_id: str) -> list[str]:
    """The id, its beginnings from the longest down, and the one that stands for all."""
    beginnings = [device_id[:end] + ANY for end in range(len(device_id), -1, -1)]
    return [device_id, *beginnings, ""]


def _folded(name: str) -> str:
    """Quoted, spaced and cased as programs please: "DB10".Alarms is db10.alarms."""
    return "".join(name.replace('"', "").split()).casefold()
