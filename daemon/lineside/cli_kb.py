"""`lineside kb`: the plant's manuals, from file to approved entries. Knows nothing of how that is done."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.cli_kb_search import add_search
from lineside.config import load_config
from lineside.errors import LinesideError

if TYPE_CHECKING:
    from lineside.diagnosis.knowledge.curation import Changed
    from lineside.diagnosis.knowledge.entry import Entry
    from lineside.diagnosis.knowledge.importers import ImportOptions, ImportResult
    from lineside.diagnosis.knowledge.importers.columns import Column

_SCOPE = ("vendor", "model", "unit", "firmware")


def add_kb(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    kb = commands.add_parser("kb", parents=[common], help="the plant's manuals")
    actions = kb.add_subparsers(required=True, metavar="ACTION")
    _add_import(actions, common)
    approving = actions.add_parser("approve", parents=[common], help="let drafts in, in a person's name")
    approving.add_argument("sources", nargs="+", metavar="SOURCE")
    approving.add_argument("--by", required=True, metavar="NAME", help="who has read them and approves")
    approving.add_argument("--digest", default="", help="only if the draft is still the one that was read")
    approving.set_defaults(run=_approve)
    removing = actions.add_parser("remove", parents=[common], help="take a source out")
    removing.add_argument("source", metavar="SOURCE")
    removing.add_argument("--by", default="", metavar="NAME", help="who decides")
    removing.add_argument("--draft", action="store_true", help="its draft alone")
    removing.set_defaults(run=_remove)
    listing = actions.add_parser("list", parents=[common], help="sources and drafts")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", parents=[common], help="entries as they are kept")
    showing.add_argument("name", metavar="ID|SOURCE", help="an entry's id, or a source for all of it")
    showing.add_argument("--draft", action="store_true", help="of the drafts")
    showing.set_defaults(run=_show)
    exporting = actions.add_parser("export", parents=[common], help="entries as JSON Lines, to import again")
    exporting.add_argument("file", metavar="FILE", help="- for standard output")
    exporting.add_argument("--source", default="", help="this one alone")
    exporting.set_defaults(run=_export)
    stats = actions.add_parser("stats", parents=[common], help="what there is, what it lacks, who changed it")
    stats.set_defaults(run=_stats)
    add_search(actions, common)


def _add_import(actions: Any, common: argparse.ArgumentParser) -> None:
    importing = actions.add_parser(
        "import", parents=[common], help="read files into a draft, which a named person approves"
    )
    importing.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CSV, TSV, JSON, YAML, XLS, XLSX, DOCX, Markdown, HTML, PDF",
    )
    for name in ("source", "manual", *_SCOPE):
        importing.add_argument(f"--{name}", default="", help="where a file does not say")
    importing.add_argument("--language", choices=("en", "zh"), help="of columns that name none")
    importing.add_argument(
        "--encoding", default="", help="of text files that are not UTF-8, UTF-16 or GB18030"
    )
    importing.add_argument(
        "--map", action="append", default=[], metavar="FIELD=HEADING", help="what a column means: code=报警号"
    )
    importing.add_argument(
        "--leave-out-duplicates", action="store_true", help="leave out entries whose key stands twice"
    )
    importing.add_argument(
        "--approve-by", default="", metavar="NAME", help="let the entries in at once, in this person's name"
    )
    importing.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge.importers import import_files  # noqa: PLC0415

    store = load_config(arguments.config).knowledge_path
    result = import_files(store, arguments.files, _options(arguments))
    _print_mappings(result)
    print(f"read {result.imported} entries of {', '.join(result.sources)}")
    _print_findings(result)
    if result.approved:
        print(f"{result.replaced} replaced; the knowledge base has {result.total}, version {result.version}")
    else:
        print(f"they wait as a draft: lineside kb approve {shlex.join(result.sources)} --by NAME")


def _options(arguments: argparse.Namespace) -> ImportOptions:
    from lineside.diagnosis.knowledge.importers import ImportOptions  # noqa: PLC0415

    return ImportOptions(
        source=arguments.source,
        manual=arguments.manual,
        **{name: getattr(arguments, name) for name in _SCOPE},
        language=arguments.language,
        encoding=arguments.encoding,
        corrections=tuple(map(_correction, arguments.map)),
        leave_out_duplicates=arguments.leave_out_duplicates,
        approve_by=arguments.approve_by,
    )


def _correction(argument: str) -> tuple[Column, str]:
    from lineside.diagnosis.knowledge.importers.columns import named_column  # noqa: PLC0415

    name, _, heading = argument.partition("=")
    column = named_column(name)
    if column is None or not heading.strip():
        hint = "write FIELD=HEADING; fields: code title meaning causes actions safety severity "
        hint += "vendor model unit firmware manual trigger_tag trigger_bit; .en or .zh behind a text's"
        raise LinesideError("import manuals", f"--map {argument}", hint)
    return column, heading.strip()


def _print_mappings(result: ImportResult) -> None:
    for mapping in result.mappings:
        print(f"{mapping.where}: " + ", ".join(f"{heading} -> {field}" for heading, field in mapping.columns))
    if result.ignored_fields:
        print(f"  not understood, ignored: {', '.join(result.ignored_fields)}")


def _print_findings(result: ImportResult) -> None:
    for count, what in (
        (result.without_cause, "without a cause: their answers will state none"),
        (result.without_action, "without an action: their answers will have no checks"),
        (result.without_severity, "without a severity: the report's counts, else medium"),
        (result.repeated, "stand twice, word for word: kept once"),
        (len(result.duplicates), f"left out, their keys stand twice: {', '.join(result.duplicates[:20])}"),
        (result.colliding_codes, "codes mean several things: reports need vendor, model, unit or text"),
    ):
        if count:
            print(f"  {count} {what}")
    for collision in result.collisions:
        print(
            f"    code {collision.code} means {len(collision.entries)} things: {', '.join(collision.entries)}"
        )
    for note in result.notes:
        print(f"  {note}")


def _approve(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge import curation  # noqa: PLC0415

    if arguments.digest and len(arguments.sources) > 1:
        raise LinesideError("approve draft", "--digest is of one draft", "name one source")
    store = load_config(arguments.config).knowledge_path
    _print_changed(curation.approve(store, arguments.sources, arguments.by, arguments.digest), "replaced")


def _remove(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge import curation, drafts  # noqa: PLC0415

    store = load_config(arguments.config).knowledge_path
    if not arguments.draft:
        _print_changed(curation.remove(store, arguments.source, arguments.by), "removed")
    elif drafts.discard(store, arguments.source):
        print(f"the draft of {arguments.source} is gone")
    else:
        hint = "`lineside kb list` names the drafts"
        raise LinesideError("remove draft", f"no draft of `{arguments.source}` waits", hint)


def _print_changed(changed: Changed, what: str) -> None:
    print(f"{changed.replaced} {what}; the knowledge base has {changed.total}, version {changed.version}")


def _list(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge import drafts  # noqa: PLC0415
    from lineside.diagnosis.knowledge.overview import sources_of  # noqa: PLC0415
    from lineside.diagnosis.knowledge.writing import read_all  # noqa: PLC0415

    store = load_config(arguments.config).knowledge_path
    content = read_all(store)
    print(f"version {content.version}, {len(content.entries)} entries")
    for source in sources_of(content):
        approval = content.ledger.approvals.get(source.name)
        by = f"approved by {approval.by} at {approval.at}" if approval else "confirmed here, one by one"
        print(f"  {source.name}  {source.entries} entries  {source.scope}  {by}".rstrip())
    for draft in drafts.drafts(store):
        files = ", ".join(draft.files)
        print(f"  {draft.source}  draft {draft.digest} of {len(draft.entries)} entries, read from {files}")


def _show(arguments: argparse.Namespace) -> None:
    found = [
        one for one in _entries(arguments, draft=arguments.draft) if arguments.name in (one.id, one.source)
    ]
    if not found:
        hint = "`lineside kb list` names the sources, `lineside kb search` finds entries"
        raise LinesideError("show entry", f"no entry or source `{arguments.name}`", hint)
    _print_yaml(found)


def _print_yaml(entries: Sequence[Entry]) -> None:
    import msgspec  # noqa: PLC0415
    import yaml  # noqa: PLC0415

    from lineside.diagnosis.knowledge.overview import plain  # noqa: PLC0415

    documents = msgspec.to_builtins([plain(entry) | {"id": entry.id} for entry in entries])
    yaml.safe_dump(documents, sys.stdout, allow_unicode=True, sort_keys=False, width=110)


def _export(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415

    from lineside.diagnosis.knowledge.entry import PLANT_SOURCE  # noqa: PLC0415
    from lineside.diagnosis.knowledge.overview import plain  # noqa: PLC0415

    # The plant's own entries are no import's to bring back, unless asked for by name.
    wanted = [
        entry
        for entry in _entries(arguments)
        if entry.source == arguments.source or (not arguments.source and entry.source != PLANT_SOURCE)
    ]
    lines = b"".join(msgspec.json.encode(plain(entry)) + b"\n" for entry in wanted)
    if arguments.file == "-":
        sys.stdout.buffer.write(lines)
        return
    try:
        Path(arguments.file).write_bytes(lines)
    except OSError as error:
        hint = "name a file that can be written, or - for standard output"
        raise LinesideError("export", f"{arguments.file}: {error.strerror}", hint) from error
    print(f"{len(wanted)} entries in {arguments.file}")


def _entries(arguments: argparse.Namespace, *, draft: bool = False) -> list[Entry]:
    from lineside.diagnosis.knowledge import drafts  # noqa: PLC0415
    from lineside.diagnosis.knowledge.writing import read_all  # noqa: PLC0415

    store = load_config(arguments.config).knowledge_path
    if draft:
        return [entry for one in drafts.drafts(store) for entry in one.entries]
    return read_all(store).entries


def _stats(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge.overview import facts_of  # noqa: PLC0415
    from lineside.diagnosis.knowledge.writing import read_all  # noqa: PLC0415

    content = read_all(load_config(arguments.config).knowledge_path)
    for name, value in facts_of(content).items():
        print(f"{name:26}{value}")
    for change in content.ledger.history[-20:]:
        print(f"  version {change.number}  {change.at}  {change.by}: {change.what}")
