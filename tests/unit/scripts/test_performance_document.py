"""docs/performance.md is what its figures make of it."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_document_is_what_the_figures_make_of_it():
    command = [sys.executable, ROOT / "scripts" / "performance-document", "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_benchmark_has_its_part_with_figures_and_charts(tmp_path):
    loader = SourceFileLoader("performance_document", str(ROOT / "scripts" / "performance-document"))
    document = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(document)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    assert document.beside_peers(folder) == ""
    content = {"name": "start", "command": "scripts/bench start", "machine": "a board", "commit": "abc1234"}
    content |= {"date": "2026-01-02T03:04:05Z", "metrics": {"x_ready_s": 1.23456}}
    (folder / "start.json").write_text(json.dumps(content))
    (folder / "start-ready.svg").write_text("<svg/>")
    made = document.beside_peers(folder)
    assert "`scripts/bench start` on a board, 2026-01-02, commit abc1234." in made
    assert "| `x_ready_s` | 1.235 |" in made
    assert "![start-ready](benchmarks/start-ready.svg)" in made
    assert "SmolLM2 (not run), Q8_0\n  (not run)." in made
    content |= {"name": "engine", "metrics": {"smollm2_perplexity": 46.8312}}
    (folder / "engine-avx2.json").write_text(json.dumps(content))
    assert "SmolLM2 46.83, Q8_0\n  (not run)." in document.beside_peers(folder)
