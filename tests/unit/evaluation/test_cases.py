import json

import pytest
from tests.unit.evaluation.evaluation_data import case, cases, write_data

from lineside.diagnosis.knowledge.store import Store
from lineside.evaluation.cases import (
    REPORTS,
    EvaluationError,
    build_bases,
    data_directory,
    read_cases,
    sample_cases,
)


def entries_of(path):
    store = Store(path)
    with store.snapshot() as snapshot:
        found = {entry.id: entry for entry in snapshot.all()}
    store.close()
    return found


def test_bases_are_as_the_labels_say(tmp_path):
    read = read_cases(write_data(tmp_path) / REPORTS)
    bases = build_bases(tmp_path, read, tmp_path, "en_only", "cause_not_indexed")
    assert set(bases) == {"full", "zh_only", "en_only", "cause_not_indexed"}
    full = entries_of(bases["full"])
    assert sorted(full) == ["orrin:drive:1", *(f"pell:drive:{n}" for n in range(1, 5))], (
        "held entries and keys that stand twice are left out"
    )
    assert {entry.vendor for entry in full.values()} == {"Pell", "Orrin"}, "vendors are as reports name them"
    assert full["pell:drive:1"].en.causes == ("Motor hot cause",)
    assert entries_of(bases["cause_not_indexed"])["pell:drive:1"].en.causes == ()
    assert all(entry.en is None for entry in entries_of(bases["zh_only"]).values())
    assert all(entry.zh is None for entry in entries_of(bases["en_only"]).values())


def test_a_sample_has_its_share_of_every_group_and_is_the_same_again(tmp_path):
    many = [case(n, "code", {"code": "1"}, {"entry": "pell:drive:1"}) for n in range(90)]
    many += [case(n, "rare", {"code": "1"}, {"entry": "pell:drive:1"}) for n in range(90, 92)]
    read = read_cases(write_data(tmp_path, many) / REPORTS)
    sample = sample_cases(read, 10, 1)
    assert [one.kind for one in sample].count("rare") == 1
    assert len(sample) == 11
    assert sample == sample_cases(read, 10, 1)
    assert sample != sample_cases(read, 10, 2)
    assert sample_cases(read, 500, 1) == read


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no report"),
        ("{}", "line 1"),
        (json.dumps(cases()[0]) + "\n{", "line 2"),
        (json.dumps(cases()[0] | {"kb": "other"}), "kb"),
        (json.dumps(cases()[0] | {"report": {"dev": {}}}), "report"),
    ],
)
def test_a_file_of_no_use_is_named_with_its_line(tmp_path, content, said):
    (tmp_path / REPORTS).write_text(content)
    with pytest.raises(EvaluationError, match=said):
        read_cases(tmp_path / REPORTS)


def test_missing_data_is_an_error_that_says_where_it_is_looked_for(tmp_path):
    with pytest.raises(EvaluationError, match="No such file") as caught:
        read_cases(tmp_path / REPORTS)
    assert "LINESIDE_EVAL_DATA" in caught.value.hint
    with pytest.raises(EvaluationError, match=r"fault_codes\.jsonl"):
        build_bases(tmp_path, [], tmp_path, "full")


def test_entries_that_are_none_are_named_with_their_line(tmp_path):
    write_data(tmp_path)
    (tmp_path / "fault_codes.jsonl").write_text('{"source": "a"}\n')
    with pytest.raises(EvaluationError, match=r"fault_codes\.jsonl, line 1"):
        build_bases(tmp_path, [], tmp_path, "full")


def test_where_data_is(monkeypatch):
    monkeypatch.setenv("LINESIDE_EVAL_DATA", "/somewhere")
    assert str(data_directory()) == "/somewhere"
    monkeypatch.delenv("LINESIDE_EVAL_DATA")
    assert str(data_directory()) == "../shared/data"
