"""docs/performance.md is what its figures make of it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_document_is_what_the_figures_make_of_it():
    command = [sys.executable, ROOT / "scripts" / "performance-document", "--check"]
    assert subprocess.run(command, check=False).returncode == 0
