"""docs/evaluation.md is what the measured figures make of it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_no_figure_of_the_page_is_typed_in():
    command = [sys.executable, ROOT / "scripts" / "eval-document", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_names_what_it_was_made_by():
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    for part in (
        "cross_language_hit1",
        "hit@1",
        "Models against rules",
        "FailureSensorIQ",
        "wrongly_abstained",
        "Confidence and abstention",
        "What a model adds by reading again",
        "fitted on the other half",
    ):
        assert part in text
