"""`lineside kb`: import and search of the knowledge base. Knows nothing of how either is done."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from lineside.config import load_config

_ADVICE = {
    "none": "nothing certain; nearest:",
    "conflict": "several entries fit; add --vendor, --model or --unit to tell them apart:",
}


def add_kb(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    kb = commands.add_parser("kb", parents=[common], help="the plant's manuals")
    actions = kb.add_subparsers(required=True, metavar="ACTION")
    importing = actions.add_parser(
        "import", parents=[common], help="read files into a draft, which a named person approves"
    )
    importing.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="YAML, JSON Lines, CSV, Markdown"
    )
    for name in ("source", "manual", "vendor", "model", "unit", "firmware"):
        importing.add_argument(f"--{name}", default="", help="where a file does not say")
    importing.add_argument("--language", choices=("en", "zh"), help="of columns that name none")
    importing.add_argument(
        "--leave-out-duplicates", action="store_true", help="leave out entries whose key stands twice"
    )
    importing.add_argument(
        "--approve-by", default="", metavar="NAME", help="let the entries in at once, in this person's name"
    )
    importing.set_defaults(run=_import)
    searching = actions.add_parser(
        "search", parents=[common], help="what a report with these words would find"
    )
    searching.add_argument("text", nargs="?", default="")
    for name in ("code", "vendor", "model", "unit"):
        searching.add_argument(f"--{name}", default="")
    searching.set_defaults(run=_search)
    approving = actions.add_parser("approve", parents=[common], help="let drafts in")
    approving.add_argument("sources", nargs="+", metavar="SOURCE")
    approving.add_argument("--by", required=True, metavar="NAME", help="who has read them and approves")
    approving.set_defaults(run=_approve)


def _import(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge.importers import ImportOptions, import_files  # noqa: PLC0415

    options = ImportOptions(
        source=arguments.source,
        manual=arguments.manual,
        vendor=arguments.vendor,
        model=arguments.model,
        unit=arguments.unit,
        firmware=arguments.firmware,
        language=arguments.language,
        approve_by=arguments.approve_by,
        leave_out_duplicates=arguments.leave_out_duplicates,
    )
    result = import_files(load_config(arguments.config).knowledge_path, arguments.files, options)
    print(f"read {result.imported} entries of {', '.join(result.sources)}")
    if result.approved:
        print(
            f"{result.replaced} replaced; the knowledge base now has {result.total}, version {result.version}"
        )
    else:
        print(f"they wait as a draft: lineside kb approve {shlex.join(result.sources)} --by NAME")
    for count, what in (
        (result.without_cause, "without a cause: their answers will state none"),
        (result.without_action, "without an action: their answers will have no checks"),
        (result.without_severity, "without a severity: the report's counts, else medium"),
        (result.duplicates, "left out, their keys stand twice"),
    ):
        if count:
            print(f"  {count} {what}")
    for collision in result.collisions:
        print(
            f"  code {collision.code} means {len(collision.entries)} things: {', '.join(collision.entries)}"
        )
    if result.ignored_fields:
        print(f"  not understood, ignored: {', '.join(result.ignored_fields)}")


def _approve(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.knowledge import curation  # noqa: PLC0415

    store = load_config(arguments.config).knowledge_path
    changed = curation.approve(store, arguments.sources, arguments.by)
    print(
        f"{changed.replaced} replaced; the knowledge base now has {changed.total}, version {changed.version}"
    )


def _search(arguments: argparse.Namespace) -> int:
    from lineside.diagnosis.knowledge.search import Query, Searcher  # noqa: PLC0415
    from lineside.diagnosis.knowledge.store import Store  # noqa: PLC0415

    if not (arguments.text or arguments.code):
        print("lineside: kb search: name a text or --code", file=sys.stderr)
        return 2
    config = load_config(arguments.config)
    store = Store(config.knowledge_path)
    query = Query(
        code=arguments.code,
        text=arguments.text,
        vendor=arguments.vendor,
        model=arguments.model,
        unit=arguments.unit,
    )
    found = Searcher(store, config.knowledge.max_entries).search(query)
    print(f"{found.verdict} (version {found.version})")
    if found.candidates and found.verdict in _ADVICE:
        print(_ADVICE[found.verdict])
    for candidate in found.candidates:
        titles = " / ".join(text.title for text in candidate.entry.texts)
        print(f"  {candidate.score:.2f} by {candidate.by}: {candidate.entry.id}  {titles}")
    store.close()
    return 0
