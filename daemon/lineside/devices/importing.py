"""Tables of devices, tags and alarm bits to registry entries, every problem named. Knows no reports."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lineside.devices.file import changing, replace
from lineside.devices.registry import Bit, Device, Registry, Tag
from lineside.diagnosis.knowledge.importers.confined import read_confined
from lineside.diagnosis.knowledge.importers.encoding import EncodingError, text_of
from lineside.diagnosis.knowledge.importers.extra import UnreadableError
from lineside.diagnosis.knowledge.importers.grids import Grid
from lineside.diagnosis.knowledge.importers.problems import Problem, failure
from lineside.diagnosis.knowledge.importers.records import items
from lineside.diagnosis.knowledge.importers.tables import csv_tables
from lineside.diagnosis.report import field_of
from lineside.plain_files import read_plain

MAX_FILE_BYTES = 64 * 1024 * 1024
# Of each kind, in the whole registry.
MAX_ROWS = 200_000
MAX_ABOVE = 20

_DEVICE = (
    "device|deviceid|devid|machine|machineid|asset|assetid|equipment|设备|设备编号|设备号|设备id|机台|机台号"
)
_HEADINGS: dict[str, dict[str, str]] = {
    "bits": {
        "device": _DEVICE,
        "word": "word|alarmword|triggertag|wordtag|alarmtag|报警字|触发变量|报警变量",
        "bit": "bit|alarmbit|triggerbit|bitnumber|位|位号|触发位|报警位",
        "code": "code|alarmcode|errorcode|faultcode|alarmno|id|报警号|报警代码|故障代码|故障码|代码",
        "text": "text|alarmtext|message|title|报警内容|报警文本|文本",
    },
    "tags": {
        "device": _DEVICE,
        "tag": "tag|tagname|variable|signal|symbol|address|变量|变量名|标签|信号|点位|地址",
        "name": "name|description|displayname|名称|描述|说明|显示名",
        "unit": "unit|uom|engineeringunit|单位",
        "scale": "scale|factor|gain|系数|比例|倍率",
        "offset": "offset|偏移|偏移量",
        "lo": "lo|low|min|minimum|lowlimit|lowerlimit|下限|最小值",
        "hi": "hi|high|max|maximum|highlimit|upperlimit|limit|上限|最大值",
    },
    "devices": {
        "id": f"{_DEVICE}|id",
        "type": "type|devicetype|类型|设备类型",
        "vendor": "vendor|manufacturer|maker|brand|厂家|厂商|制造商|品牌",
        "model": "model|series|型号|机型|设备型号",
        "unit": "unit|controller|module|控制器|单元|模块",
        "fw": "fw|firmware|firmwareversion|fwversion|固件|固件版本",
        "code_base": "codebase|codesas|codeformat|进制|代码进制|码制",
        "location": "location|place|position|位置|安装位置|地点",
        "language": "language|lang|locale|语言",
        "safety": "safety|safetynote|safetynotes|安全|安全说明|安全注意事项|注意事项",
    },
}
_NEEDED = {"bits": ("word", "bit", "code"), "tags": ("tag",), "devices": ("id",)}
_KINDS: dict[str, type[Any]] = {"bits": Bit, "tags": Tag, "devices": Device}
_NUMBERS = frozenset({"scale", "offset", "lo", "hi"})
_BASES = {
    "10": "dec",
    "decimal": "dec",
    "十进制": "dec",
    "16": "hex",
    "hexadecimal": "hex",
    "十六进制": "hex",
}
_LANGUAGES = {"中文": "zh", "chinese": "zh", "英文": "en", "英语": "en", "english": "en"}
_SIGNS = re.compile(r"[\s_\-./()\[\]（）:：#*]+")


class ImportedDevices(NamedTuple):
    """What an import did, and what the columns were taken for."""

    registry: Registry
    counts: dict[str, int]
    replaced: int
    mappings: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    ignored: tuple[str, ...]


def import_devices(store: Path, files: Sequence[Path]) -> ImportedDevices:
    """Add the files' rows to the registry at `store`, each in place of the one with its key, or none."""
    problems: list[Problem] = []
    reading = _Reading(problems)
    for path in files:
        for grid in _grids(path, problems):
            reading.add(path.name, grid)
    if not problems and not any(reading.rows.values()):
        problems.append(Problem(", ".join(path.name for path in files), "", "holds no row"))
    if problems:
        raise failure(problems, "import devices")
    with changing(store) as present:
        merged, replaced = _merged(present, reading.rows)
        registry = replace(store, merged)
    counts = {kind: len(rows) for kind, rows in reading.rows.items() if rows}
    return ImportedDevices(registry, counts, replaced, tuple(reading.mappings), tuple(reading.ignored))


def remove_device(store: Path, device_id: str) -> tuple[Registry, int]:
    """Take a device, its own tags and its own alarm bits out. How many rows that were."""
    with changing(store) as registry:
        kept = msgspec.structs.replace(
            registry,
            devices=tuple(one for one in registry.devices if one.id != device_id),
            tags=tuple(one for one in registry.tags if one.device != device_id),
            bits=tuple(one for one in registry.bits if one.device != device_id),
        )
        gone = _count(registry) - _count(kept)
        return (replace(store, kept) if gone else registry), gone


class _Reading:
    """The rows of all files, by kind."""

    def __init__(self, problems: list[Problem]) -> None:
        self.rows: dict[str, dict[str, Any]] = {kind: {} for kind in ("devices", "tags", "bits")}
        self.mappings: list[tuple[str, str, tuple[tuple[str, str], ...]]] = []
        self.ignored: dict[str, None] = {}
        self._problems = problems

    def add(self, name: str, grid: Grid) -> None:
        place = f"{name}:{grid.name}" if grid.name else name
        found = ((n, _kind_of(row)) for n, row in enumerate(grid.rows[:MAX_ABOVE]))
        start, kind = next(((n, kind) for n, kind in found if kind), (0, ""))
        if not kind:
            if any(any(row) for row in grid.rows):
                first = ", ".join(cell for cell in grid.rows[0] if cell)
                hint = "head the columns: device, vendor, model ...; or tag, unit, lo, hi; or word, bit, code"
                self._problems.append(Problem(place, "", f"its columns are not understood: {first}", hint))
            return
        fields = _fields(grid.rows[start], kind)
        shown = [(cell, field) for cell, field in zip(grid.rows[start], fields, strict=True)]
        self.mappings.append((place, kind, tuple((cell, field) for cell, field in shown if field)))
        self.ignored.update(dict.fromkeys(cell for cell, field in shown if not field and cell))
        if twice := {field for field in fields if field and fields.count(field) > 1}:
            self._problems.append(Problem(place, min(twice), "two columns mean it"))
            return
        for number, cells in enumerate(grid.rows[start + 1 :], start + 1):
            if any(cell.strip() for cell in cells):
                self._add_row(f"{place}:{grid.first_line + number}", kind, fields, cells)

    def _add_row(self, where: str, kind: str, fields: Sequence[str], cells: Sequence[str]) -> None:
        given = {f: cell.strip() for f, cell in zip(fields, cells, strict=False) if f and cell.strip()}
        document = {field: _converted(field, cell) for field, cell in given.items()}
        try:
            row = msgspec.convert(document, _KINDS[kind], strict=False)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at `$")[0]
            self._problems.append(Problem(where, field_of(str(error)), message))
            return
        if endless := next((f for f in _NUMBERS & given.keys() if not math.isfinite(getattr(row, f))), ""):
            self._problems.append(Problem(where, endless, f"`{given[endless]}` is no number to reckon with"))
        elif kind == "tags" and row.lo is not None and row.hi is not None and row.lo > row.hi:
            self._problems.append(Problem(where, "lo", f"{row.lo:g} is above hi {row.hi:g}"))
        elif self.rows[kind].setdefault(row.key, row) != row:
            self._problems.append(Problem(where, _NEEDED[kind][0], f"{row.key} stands twice"))


def _grids(path: Path, problems: list[Problem]) -> Iterable[Grid]:
    readers: dict[str, Callable[[bytes], Iterable[Grid]]] = {
        ".xlsx": lambda data: read_confined(data, ".xlsx").grids,
        ".csv": lambda data: _delimited(data, path.name, problems),
        ".tsv": lambda data: _delimited(data, path.name, problems),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        problems.append(Problem(path.name, "", f"the ending is not one of {' '.join(readers)}"))
        return ()
    try:
        return reader(read_plain(path, MAX_FILE_BYTES))
    except OSError as error:
        hint = "name an existing file that can be read"
        problems.append(Problem(str(path), "", error.strerror or str(error), hint))
    except (UnreadableError, EncodingError) as error:
        problems.append(Problem(path.name, "", str(error)))
    return ()


def _delimited(data: bytes, name: str, problems: list[Problem]) -> list[Grid]:
    tables = csv_tables(text_of(data)[0], name, problems)
    return [
        Grid("", [table.heading.cells, *(row.cells for row in table.rows)], first_line=table.heading.line)
        for table in tables
    ]


def _kind_of(cells: Sequence[str]) -> str:
    """Alarm bits before tags before devices: each has the columns of the next, too."""
    for kind, needed in _NEEDED.items():
        fields = _fields(cells, kind)
        if all(name in fields for name in needed) and len([f for f in fields if f]) > 1:
            return kind
    return ""


def _fields(cells: Sequence[str], kind: str) -> list[str]:
    names = {name: field for field, names in _HEADINGS[kind].items() for name in names.split("|")}
    keys = (_SIGNS.sub("", unicodedata.normalize("NFKC", cell).casefold()) for cell in cells)
    return [names.get(key, "") for key in keys]


def _converted(field: str, cell: str) -> Any:
    if field in _NUMBERS:
        # 65,5 is 65.5 in most of Europe; thousands are not parted in a table of limits.
        return cell.replace(",", ".")
    if field == "safety":
        return items(cell)
    if field == "code_base":
        return _BASES.get(cell.casefold(), cell.casefold())
    if field == "language":
        return _LANGUAGES.get(cell.casefold(), re.split(r"[-_]", cell.casefold())[0])
    return cell


def _merged(registry: Registry, rows: dict[str, dict[str, Any]]) -> tuple[Registry, int]:
    replaced, changed = 0, {}
    for kind, new in rows.items():
        old = {row.key: row for row in getattr(registry, kind)}
        replaced += len(old.keys() & new.keys())
        merged = old | new
        if len(merged) > MAX_ROWS:
            problem = Problem("registry", kind, f"{len(merged)} rows, at most {MAX_ROWS} are kept")
            raise failure([problem], "import devices")
        changed[kind] = tuple(merged[key] for key in sorted(merged))
    return msgspec.structs.replace(registry, **changed), replaced


def _count(registry: Registry) -> int:
    return len(registry.devices) + len(registry.tags) + len(registry.bits)
