"""What docs/operations.md promises of faults is what the tests here cause, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"^## Faults\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w/]+\.py)(?:::(test_\w+))?`")
TESTS = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def named() -> set[tuple[str, str]]:
    """File and test of every mention; an empty test: the file as a whole."""
    section = TABLE.search((ROOT / "docs/operations.md").read_text("utf-8"))
    assert section is not None
    return {(file, test) for file, test in NAMED.findall(section[1])}


def test_every_test_that_the_table_names_is_there():
    for file, test in named():
        assert not test or test in TESTS.findall((ROOT / "tests" / file).read_text("utf-8")), (file, test)
        assert (ROOT / "tests" / file).exists(), file


def test_every_fault_that_is_caused_has_its_row():
    files = {file for file, test in named() if test and file.startswith("faults/")}
    assert len(files) >= 3
    there = {
        (file, test) for file in files for test in TESTS.findall((ROOT / "tests" / file).read_text("utf-8"))
    }
    whole = {file for file, test in named() if not test}
    assert {(file, test) for file, test in there if file not in whole} <= named()
