"""JSON, JSON lines and YAML: entries with a text object for each language. Knows nothing of storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from lineside.diagnosis.knowledge.importers.columns import TEXT_FIELDS, column_of, language_of_name
from lineside.diagnosis.knowledge.importers.problems import Problem
from lineside.diagnosis.knowledge.importers.records import Raw
from lineside.diagnosis.knowledge.terms import has_cjk

_FIELDS = ("source", "manual", "vendor", "model", "unit", "firmware", "code", "severity")
_BITS = ("trigger_tag", "trigger_bit")
# BaseLoader: every scalar stays text. Else 0x10032 would become 65586, and 010 eight.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
MAX_DEPTH = 8


def jsonl_raws(text: str, where: str, problems: list[Problem]) -> tuple[list[Raw], list[str]]:
    """An entry a line; empty lines are skipped."""
    raws: list[Raw] = []
    ignored: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        here = f"{where}:{number}"
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            problems.append(Problem(here, "", f"is not JSON: {error}"))
            continue
        raws.extend(_raws(document, here, {}, ignored, problems))
    return raws, list(ignored)


def json_raws(text: str, where: str, problems: list[Problem]) -> tuple[list[Raw], list[str]]:
    """One document: a list of entries, or the manual's facts and `entries`."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        problems.append(Problem(where, "", f"is not JSON: {error}"))
        return [], []
    shared: dict[str, Any] = {}
    if isinstance(document, dict):
        shared = {name: value for name, value in document.items() if name != "entries"}
        document = document.get("entries")
    if not isinstance(document, list):
        problems.append(Problem(where, "entries", "is missing, or is no list"))
        return [], []
    ignored: dict[str, None] = dict.fromkeys(name for name in shared if name not in _FIELDS)
    raws: list[Raw] = []
    for number, entry in enumerate(document, 1):
        raws.extend(_raws(entry, f"{where}: entry {number}", shared, ignored, problems))
    return raws, list(ignored)


def yaml_raws(text: str, where: str, problems: list[Problem]) -> tuple[list[Raw], list[str]]:
    """One document: a list of entries, or the manual's facts and `entries`."""
    try:
        _refuse_depth(text)
        root: Any = yaml.compose(text, Loader=_Loader)
        _refuse_aliases(root)
        _refuse_second_entries(root)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 BaseLoader makes nothing but text, lists and maps
    except (yaml.YAMLError, RecursionError) as error:
        problems.append(Problem(_yaml_where(error, where), "", f"is not usable YAML: {_yaml_problem(error)}"))
        return [], []
    shared: dict[str, Any] = {}
    if isinstance(document, dict):
        shared = {name: value for name, value in document.items() if name != "entries"}
        document = document.get("entries")
    if not isinstance(document, list):
        problems.append(Problem(f"{where}:1", "entries", "is missing, or is no list"))
        return [], []
    ignored: dict[str, None] = dict.fromkeys(name for name in shared if name not in _FIELDS)
    raws: list[Raw] = []
    for line, entry in zip(_entry_lines(root), document, strict=True):
        raws.extend(_raws(entry, f"{where}:{line}", shared, ignored, problems))
    return raws, list(ignored)


def _raws(
    document: Any, here: str, shared: Mapping[str, Any], ignored: dict[str, None], problems: list[Problem]
) -> Iterator[Raw]:
    """The one entry that `document` is, unless it is none."""
    if not isinstance(document, dict):
        problems.append(Problem(here, "", "an entry is an object with `code` and `en` or `zh`"))
        return
    fields = {name: shared.get(name) for name in _FIELDS}
    texts: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for name, value in document.items():
        language, column = language_of_name(name), column_of(name)
        if language is not None:
            texts.setdefault(language, {}).update(
                _text(value, Problem(here, language, ""), ignored, problems)
            )
        elif column is None or column.field in _BITS:
            ignored.update({} if name == "sev" else {name: None})
        elif column.field not in TEXT_FIELDS:
            fields[column.field] = value
        elif value:
            target = texts.setdefault(column.language, {}) if column.language else plain
            target.setdefault(column.field, value)
    if plain:
        language = "zh" if has_cjk(str(plain.get("title", ""))) else "en"
        texts[language] = plain | texts.get(language, {})
    for text in texts.values():
        if "title" not in text and isinstance(text.get("meaning"), str):
            # Controllers' own tables often have one text, under the name of a description.
            text["title"] = text.pop("meaning")
    yield Raw(here, fields, texts)


def _text(given: Any, place: Problem, ignored: dict[str, None], problems: list[Problem]) -> dict[str, Any]:
    """The fields of one language's object."""
    if given in (None, ""):
        return {}
    if not isinstance(given, dict):
        problems.append(place._replace(message="is no object with a title"))
        return {}
    text: dict[str, Any] = {}
    for name, value in given.items():
        column = column_of(name)
        if column is None or column.field not in TEXT_FIELDS:
            ignored[f"{place.field}.{name}"] = None
        elif value:
            text[column.field] = value
    return text


def _entry_lines(root: yaml.Node) -> Iterator[int]:
    if isinstance(root, yaml.SequenceNode):
        yield from (node.start_mark.line + 1 for node in root.value)
        return
    for key, value in root.value:
        if key.value == "entries":
            yield from (node.start_mark.line + 1 for node in value.value)


def _refuse_depth(text: str) -> None:
    """The composer recurses in C, where too deep a document ends the process; events come one by one."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            problem = f"it is nested too deeply, at most {MAX_DEPTH} levels are taken"
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _refuse_aliases(root: yaml.Node | None) -> None:
    """A few lines of aliases can stand for billions of entries; a table of codes needs none."""
    seen: set[int] = set()
    pending = [root] if root else []
    while pending:
        node = pending.pop()
        if id(node) in seen:
            raise yaml.MarkedYAMLError(problem="an alias is used", problem_mark=node.start_mark)
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            pending.extend(child for pair in node.value for child in pair)


def _refuse_second_entries(root: yaml.Node | None) -> None:
    """Of two lists YAML keeps the last, without a word."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    for key, _ in [pair for pair in pairs if pair[0].value == "entries"][1:]:
        raise yaml.MarkedYAMLError(
            problem="`entries` stands twice: put them into one list", problem_mark=key.start_mark
        )


def _yaml_where(error: Exception, where: str) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{where}:{mark.line + 1}" if mark else where


def _yaml_problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error) or type(error).__name__
