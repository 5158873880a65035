import json
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "scripts"))
from benchmarks.record import Record, in_turns, median_ratio, quantile


def test_every_round_begins_with_the_next_one():
    order = []
    asks = {name: (lambda number, name=name: order.append((number, name))) for name in "abc"}
    in_turns(3, asks)
    assert order == [(0, "a"), (0, "b"), (0, "c"), (1, "b"), (1, "c"), (1, "a"), (2, "c"), (2, "a"), (2, "b")]


def test_ratios_are_of_the_same_round():
    assert median_ratio([2.0, 40.0, 9.0], [1.0, 10.0, 3.0]) == 3.0
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 3), (0.99, 5), (1.0, 5)])
def test_a_quantile_is_one_of_the_values(share, expected):
    assert quantile([5, 3, 1, 4, 2], share) == expected


def test_a_file_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["bench", "start", "--bundle", "a=/some/b", "--json", "/else/start.json"]
    )
    record = Record("start", metrics={"x_s": 1.23456}, charts={"x": "<svg/>"})
    record.write(tmp_path / "new" / "start.json")
    content = json.loads((tmp_path / "new" / "start.json").read_text())
    assert content["metrics"] == {"x_s": 1.235}
    assert content["command"] == "scripts/bench start --bundle a=b --json start.json"
    assert (content["commit"], content["date"]) == (record.commit, record.date)
    assert "GB, Linux" in content["machine"]
    assert re.search(r" \([a-z0-9_]+\), \d+ cores", content["machine"])
    assert (tmp_path / "new" / "start-x.svg").read_text() == "<svg/>"


def test_a_file_names_the_commit_at_which_the_benchmark_began(tmp_path):
    begun = Record("start", commit="abc1234", date="2026-01-02T03:04:05Z")
    begun.write(tmp_path / "start.json")
    content = json.loads((tmp_path / "start.json").read_text())
    assert (content["commit"], content["date"]) == ("abc1234", "2026-01-02T03:04:05Z")
