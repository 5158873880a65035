"""`lineside kb` as a person uses it, over real files."""

from __future__ import annotations

import json

import pytest
import yaml

from lineside.cli import main

CSV = "报警号,id,报警内容,原因,处理方法\nA-10,1,电机过热,风扇停转,检查风扇\nA-11,2,门开,,关门\n"


@pytest.fixture
def kb(tmp_path, capsys):
    """kb(arguments...) -> (exit status, standard output, standard error)"""
    config = tmp_path / "lineside.toml"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n')

    def run(*arguments):
        capsys.readouterr()
        status = main(["kb", "--config", str(config), *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def alarms(tmp_path):
    path = tmp_path / "alarms.csv"
    path.write_text(CSV, "gb18030")
    return path


def test_from_a_wrong_guess_to_an_approved_source(kb, alarms):
    status, _, err = kb("import", alarms)
    assert status == 1
    assert "code: two columns mean it" in err
    assert "what to do: nothing was imported; say which one it is: --map FIELD=HEADING" in err
    status, out, _ = kb("import", alarms, "--map", "code=报警号")
    assert "alarms.csv: 报警号 -> code, 报警内容 -> title.zh, 原因 -> causes.zh" in out
    assert "not understood, ignored: id" in out
    assert "1 without a cause" in out
    assert "read as gb18030" in out
    assert "they wait as a draft: lineside kb approve alarms --by NAME" in out
    assert kb("search", "--code", "A-10")[1].startswith("none (version 0)")
    assert "电机过热" in kb("show", "--draft", "alarms")[1]
    assert "alarms  draft" in kb("list")[1]
    status, out, _ = kb("approve", "alarms", "--by", "shift lead")
    assert out.startswith("0 replaced; the knowledge base has 2, version 1-")
    assert kb("search", "--code", "A-10")[1].startswith("hit (version 1-")
    out = kb("list")[1]
    assert "approved by shift lead at 20" in out
    assert "draft" not in out


def test_show_prints_an_entry_as_yaml(kb, alarms):
    kb("import", alarms, "--map", "code=报警号", "--approve-by", "shift lead")
    (shown,) = yaml.safe_load(kb("show", "alarms::A-10")[1])
    assert (shown["id"], shown["zh"]["causes"]) == ("alarms::A-10", ["风扇停转"])
    status, _, err = kb("show", "nothing")
    assert (status, "no entry or source `nothing`" in err) == (1, True)


def test_what_is_exported_can_be_imported_again(kb, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(
        "code,title,model,firmware,severity,cause,safety\n1,a,X,<2,high,c;d,s\n1,b,X,>=2,,,\n2,c,Y,,low,,\n"
    )
    kb("import", table, "--vendor", "Acme", "--approve-by", "shift lead")
    before = [kb("show", "t")[1], kb("list")[1].split()[1]]
    exported = tmp_path / "export.jsonl"
    assert kb("export", exported)[1] == f"3 entries in {exported}\n"
    _, out, _ = kb("import", exported, "--approve-by", "shift lead")
    assert "3 replaced" in out
    assert "ignored" not in out
    assert kb("show", "t")[1] == before[0]
    assert kb("list")[1].split()[1].split("-")[1] == before[1].split("-")[1]


def test_export_to_standard_output_and_of_one_source(kb, alarms, tmp_path):
    kb_import = ("import", alarms, "--map", "code=报警号", "--approve-by", "shift lead")
    kb(*kb_import)
    kb(*kb_import, "--source", "other")
    lines = kb("export", "-", "--source", "other")[1].splitlines()
    assert {json.loads(line)["source"] for line in lines} == {"other"}
    assert len(lines) == 2
    status, _, err = kb("export", tmp_path / "missing" / "x")
    assert (status, "No such file" in err) == (1, True)


def test_removing_needs_a_name_and_a_source(kb, alarms):
    kb("import", alarms, "--map", "code=报警号", "--approve-by", "shift lead")
    assert "--by NAME" in kb("remove", "alarms")[2]
    assert "no source `x`" in kb("remove", "x", "--by", "shift lead")[2]
    assert kb("remove", "alarms", "--by", "shift lead")[1].startswith("2 removed; the knowledge base has 0")
    kb("import", alarms, "--map", "code=报警号")
    assert kb("remove", "--draft", "alarms")[1] == "the draft of alarms is gone\n"
    assert "no draft of `alarms`" in kb("remove", "--draft", "alarms")[2]


def test_stats_count_what_is_lacking_and_who_changed_what(kb, alarms):
    kb("import", alarms, "--map", "code=报警号", "--approve-by", "shift lead")
    out = kb("stats")[1]
    facts = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if not line.startswith(" "))
    assert facts["entries"] == facts["in Chinese"] == "2"
    assert (facts["without a cause"], facts["in English"]) == ("1", "0")
    assert "version 1  20" in out
    assert "shift lead: approved alarms" in out


@pytest.mark.parametrize("argument", ["colour=x", "code=", "code", "=x"])
def test_a_mapping_that_is_none_lists_the_fields(kb, alarms, argument):
    status, _, err = kb("import", alarms, "--map", argument)
    assert (status, "fields: code title" in err) == (1, True)


def test_a_digest_is_of_one_draft(kb, alarms):
    kb("import", alarms, "--map", "code=报警号")
    digest = kb("list")[1].split("draft ")[1].split()[0]
    assert "--digest is of one draft" in kb("approve", "alarms", "b", "--by", "A", "--digest", digest)[2]
    assert "not 00000000" in kb("approve", "alarms", "--by", "A", "--digest", "00000000")[2]
    assert kb("approve", "alarms", "--by", "A", "--digest", digest)[0] == 0
