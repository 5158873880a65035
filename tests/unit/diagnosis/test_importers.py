import json
from dataclasses import replace
from pathlib import Path

import pytest

from lineside.diagnosis.knowledge.importers import (
    ImportFailedError,
    ImportOptions,
    documents,
    files,
    import_files,
)
from lineside.diagnosis.knowledge.importers.columns import Column, column_of
from lineside.diagnosis.knowledge.importers.records import items
from lineside.diagnosis.knowledge.importers.tables import columns_of
from lineside.diagnosis.knowledge.writing import read_all


@pytest.fixture
def store(tmp_path):
    return tmp_path / "knowledge.db"


@pytest.fixture
def load(tmp_path, store):
    """load(name=content, ...) -> (result, entries by id)."""

    def do(options=None, **files):
        paths = []
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        result = import_files(store, paths, replace(options or ImportOptions(), approve_by="shift lead"))
        return result, {entry.id: entry for entry in read_all(store)[0]}

    return do


def failing(load, **files):
    with pytest.raises(ImportFailedError) as caught:
        load(**files)
    assert "nothing was imported" in caught.value.hint
    return caught.value.message


CSV = "code,title,cause,action,severity,unit\n"
CSV += "F001,Overvoltage,ramp too short; mains high,lengthen the ramp,high,drive\n"


def test_csv_columns_are_found_by_name(load):
    result, entries = load(drive__csv=CSV)
    found = entries["drive:drive:F001"]
    assert (found.en.title, found.en.causes) == ("Overvoltage", ("ramp too short", "mains high"))
    assert (found.severity, found.zh) == ("high", None)
    assert (result.imported, result.total, result.version.split("-")[0]) == (1, 1, "1")


def test_chinese_headings_separators_and_numbered_cells(load):
    _, entries = load(
        alarms__csv="\ufeff报警号;报警内容;可能原因;处理方法;等级;型号\n10;电机过热;1.风扇停转2.负载过大;检查风扇;高;CD-40\n"
    )
    found = entries["alarms::10"]
    assert found.zh.causes == ("风扇停转", "负载过大")
    assert (found.severity, found.model, found.en) == ("high", "CD-40", None)


def test_both_languages_in_one_table(load):
    _, entries = load(t__csv="Alarm No.,title_en,标题（中文）,cause_zh\n5,Overload,过载,堵转\n")
    assert entries["t::5"].en.title == "Overload"
    assert entries["t::5"].zh.causes == ("堵转",)


def test_english_headings_over_chinese_text(load):
    assert load(t__csv="code,title\n5,过载\n")[1]["t::5"].zh.title == "过载"
    assert load(ImportOptions(language="en"), t__csv="code,title\n5,过载\n")[1]["t::5"].en.title == "过载"


@pytest.mark.parametrize(
    "heading", ["Alarm No.,Description", "No.,Description,Remedy", "报警号,说明", "编号,说明,原因"]
)
def test_a_description_is_the_title_where_a_table_of_faults_has_no_other(load, heading):
    result, entries = load(t__csv=f"{heading}\nE1,Coolant low{',refill' * (heading.count(',') - 1)}\n")
    assert entries["t::E1"].en.title == "Coolant low"
    assert result.mappings[0].columns[1][1] == "title.en", "and it is shown"


def test_a_description_stays_one_beside_a_title_or_where_a_person_says_so(load):
    _, entries = load(t__csv="Alarm No.,Description,Name\nE1,More,Jam\n")
    assert (entries["t::E1"].en.title, entries["t::E1"].en.meaning) == ("Jam", "More")
    said = ImportOptions(corrections=[(Column("meaning", None), "Description")])
    with pytest.raises(ImportFailedError, match="--map title=HEADING"):
        load(said, t__csv="Alarm No.,Description\nE1,More\n")


def test_lists_of_other_things_are_no_faults(load):
    fault = "| Code | Description |\n|---|---|\n| E1 | Jam |\n\n"
    parts = "| No. | Description |\n|---|---|\n| 7 | Screw M4 |\n"
    # Without the text between, and as wide, it would go on where the first ends.
    result, entries = load(m__md=f"{fault}Spare parts\n\n| Page | Kit |\n|---|---|\n| 7 | a |\n")
    assert set(entries) == {"m::E1"}
    assert "1 table without columns for code and title, not read; the first table has: Page, Kit" in str(
        result
    )
    with pytest.raises(ImportFailedError, match="no table with columns for code and title"):
        load(m__md=parts)


def test_markdown_tables_with_code_columns_alone(load):
    text = "# Manual\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    text += "| Code | Name | Remedy |\n|:--|:-:|--:|\n"
    text += "| E1 | Jam \\| stop | clear<br>restart |\n| E2 | Door | close |\n\nEnd\n"
    _, entries = load(wrapper__md=text)
    assert set(entries) == {"wrapper::E1", "wrapper::E2"}
    assert entries["wrapper::E1"].en.title == "Jam | stop"
    assert entries["wrapper::E1"].en.actions == ("clear", "restart")


def test_our_form_in_json_lines(load):
    line = {
        "source": "s",
        "manual": "M",
        "vendor": "V",
        "unit": "u",
        "code": 7,
        "severity": "low",
        "zh": {"title": "t", "causes": ["a;b", "c"]},
    }
    _, entries = load(x__jsonl=json.dumps(line))
    assert entries["s:u:7"].zh.causes == ("a;b", "c")
    assert (entries["s:u:7"].manual, entries["s:u:7"].vendor) == ("M", "V")


def test_the_plain_form_in_json_lines(load):
    line = {
        "source": "s",
        "unit": "u",
        "code": "7",
        "sev": 5,
        "en": {"title": "t", "cause": "", "action": "a"},
        "zh": {"title": "", "cause": "", "action": ""},
    }
    result, entries = load(x__jsonl=json.dumps(line) + "\n\n")
    assert (entries["s:u:7"].vendor, entries["s:u:7"].zh, entries["s:u:7"].severity) == ("", None, None)
    assert (result.without_cause, result.without_action, result.without_severity) == (1, 0, 1)


YAML = """source: press
manual: "HP-250"
vendor: Oster
entries:
  - code: 0x10032
    en: {title: Oil hot, actions: [check the cooler]}
  - code: 010
    unit: plc
    zh:
      title: 油温
"""


def test_yaml_may_be_a_list_of_flat_entries(load):
    _, entries = load(
        x__yaml="- {code: 010, description: Clamp open, causes: [no air]}\n- {code: 2, title: b}\n"
    )
    assert (entries["x::010"].en.title, entries["x::010"].en.causes) == ("Clamp open", ("no air",))
    assert set(entries) == {"x::010", "x::2"}


def test_yaml_scalars_stay_as_written(load):
    _, entries = load(x__yaml=YAML)
    assert set(entries) == {"press::0x10032", "press:plc:010"}
    assert entries["press:plc:010"].vendor == "Oster"


def test_defaults_fill_what_a_file_leaves_open(load):
    options = ImportOptions(source="s", vendor="V", model="M", unit="U", manual="T")
    _, entries = load(options, x__csv="code,title,vendor\n1,a,\n2,b,W\n")
    assert entries["s:U:1"].vendor == "V"
    assert (entries["s:U:2"].vendor, entries["s:U:2"].manual) == ("W", "T")


def test_importing_a_source_again_replaces_it_and_nothing_else(load):
    load(a__csv="code,title\n1,x\n2,y\n", b__csv="code,title\n1,z\n")
    result, entries = load(a__csv="code,title\n3,new\n")
    assert set(entries) == {"a::3", "b::1"}
    assert (result.imported, result.replaced, result.total) == (1, 2, 2)


def test_collisions_and_unknown_columns_are_reported(load):
    result, _ = load(a__csv="code,title,colour\nE-1,x,red\n", b__csv="code,title\nE01,y\n")
    assert (result.colliding_codes, result.collisions[0].entries) == (1, ("a::E-1", "b::E01"))
    assert result.ignored_fields == ("colour",)


def test_collisions_elsewhere_are_not_this_imports(load):
    load(a__csv="code,title\nE-1,x\n", b__csv="code,title\nE01,y\n")
    assert load(c__csv="code,title\nF1,z\n")[0].colliding_codes == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x__csv", "title,cause\na,b\n", "x.csv:1: code: no column for it in: title, cause"),
        ("x__csv", "code,cause\n1,b\n", "x.csv:1: title: no column"),
        ("x__csv", "code,title\n,a\n", "x.csv:2: code: is empty"),
        ("x__csv", "code,title\n--,a\n", "x.csv:2: code: `--` is no code"),
        ("x__csv", "code,title\n1,\n", "x.csv:2: title: is empty"),
        ("x__csv", "code,title,severity\n1,a,dreadful\n", "x.csv:2: severity: `dreadful`"),
        ("x__csv", "code,title\n1,a,b\n", "x.csv:2: 3 cells under 2 headings"),
        ("x__csv", 'code,title\n1,"a\n', "is not CSV"),
        ("x__csv", "code,title,name\n1,a,b\n", "x.csv:1: title: two columns mean it"),
        ("x__csv", "", "x.csv: holds no entry"),
        ("x__csv", "code,title\n", "x.csv: holds no entry"),
        ("x__csv", f"code,title\n1,{'a' * 501}\n", "x.csv:2: en.title"),
        ("x__csv", f"code,title\n{'1' * 65},a\n", "x.csv:2: code"),
        ("x__csv", f"code,title,cause\n1,a,{';'.join('abc' for _ in range(33))}\n", "x.csv:2: en.causes"),
        ("x__csv", f"code,title,cause\n1,a,{'b' * 2001}\n", "x.csv:2: en.causes"),
        (
            "x__csv",
            "code,title\n1,a\n2,\xe9\n".encode("latin-1"),
            "x.csv: line 3: byte 17 is not UTF-8; name the file's encoding",
        ),
        ("x__csv", "code,title\n1,a\n2,b\n01,c\n1,d\n", "x.csv:5: code: x::1 stands at x.csv:2 already"),
        ("x__exe", "hello", "the ending is not one of"),
        (
            "x__md",
            "# nothing here\n\n| a |\n|---|\n| b |\n",
            "no running text of codes; the first table has: a",
        ),
        ("x__jsonl", '{"code": "1"\n', "x.jsonl:1: is not JSON"),
        ("x__jsonl", "[1]\n", "x.jsonl:1: an entry is an object"),
        (
            "x__jsonl",
            '{"code": "1", "en": {"title": "t"}}\n{"code": "2"}\n',
            "x.jsonl:2: title: is empty in every",
        ),
        ("x__jsonl", '{"code": "1", "en": "t"}\n', "x.jsonl:1: en: is no object"),
        ("x__jsonl", '{"code": ["1"], "en": {"title": "t"}}\n', "x.jsonl:1: code: is no text but list"),
        (
            "x__jsonl",
            '{"code": "1", "en": {"title": {"a": 1}}}\n',
            "x.jsonl:1: en.title: is no text but dict",
        ),
        (
            "x__jsonl",
            '{"code": "1", "en": {"title": "", "cause": "c"}}\n',
            "x.jsonl:1: en.title: is empty, and",
        ),
        ("x__yaml", "entries: 5\n", "x.yaml:1: entries: is missing"),
        ("x__yaml", "- code: 1\n- a\n", "x.yaml:2: an entry is an object"),
        ("x__yaml", "", "x.yaml:1: entries: is missing"),
        (
            "x__yaml",
            "entries: []\nentries: [{code: 1, title: a}]\n",
            "x.yaml:2: is not usable YAML: `entries` stands twice",
        ),
        (
            "x__yaml",
            "entries:\n  - code: 1\n    en: {title: a}\n  - [b]\n",
            "x.yaml:4: an entry is an object",
        ),
        ("x__yaml", "entries:\n  - code: 1\n\n  - code: 2\n", "x.yaml:4: title"),
        ("x__jsonl", '{"code":"1","causes":["a"]}\n', "x.jsonl:1: en.title: is empty, and"),
        ("x__json", '{"entries": 5}', "x.json: entries: is missing"),
        ("x__json", "[1, 2", "x.json: is not JSON"),
        ("x__json", '[{"code": "1"}]', "x.json: entry 1: title: is empty"),
        ("x__yaml", "source: plant\nentries: [{code: 1, en: {title: a}}]", "`plant` is kept"),
        ("x__csv", "code,title,firmware\n1,a,new\n", "x.csv:2: firmware: `new` is no range"),
        ("x__yaml", "a: [1\n", "is not usable YAML"),
        ("x__yaml", "a: &a {b: c}\nentries: [*a]\n", "x.yaml:1: is not usable YAML: an alias is used"),
        ("x__yaml", "entries: " + "[" * 30 + "]" * 30, "nested too deeply"),
    ],
)
def test_every_problem_names_file_line_and_field(load, store, name, content, message):
    assert message in failing(load, **{name: content})
    assert not store.exists()


def test_all_problems_are_shown_at_once_up_to_a_bound(load):
    message = failing(load, x__csv="code,title\n" + ",a\n" * 30)
    assert message.count("is empty") == 20
    assert "and 10 more" in message


def test_one_bad_file_keeps_the_good_one_out(load, store):
    load(a__csv="code,title\n1,x\n")
    before = store.read_bytes()
    failing(load, b__csv="code,title\n2,y\n", c__csv="code,title\n,z\n")
    assert store.read_bytes() == before


def test_a_missing_file_is_named(store, tmp_path):
    with pytest.raises(ImportFailedError, match=r"gone\.csv: No such file") as caught:
        import_files(store, [tmp_path / "gone.csv"])
    assert "name an existing file" in caught.value.hint
    assert "correct" not in caught.value.hint


def test_no_file_at_all(store):
    with pytest.raises(ImportFailedError, match="no file"):
        import_files(store, [])


def test_the_size_of_a_file_is_bounded(load, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 20)
    assert "has more than 20 bytes" in failing(load, x__csv=CSV)


def test_the_number_of_entries_is_bounded(load, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_ENTRIES", 1)
    assert "2 entries, at most 1" in failing(load, x__csv="code,title\n1,a\n2,b\n")


def test_duplicates_can_be_left_out_and_are_named(load):
    text = "code,title\n1,a\n2,b\n1,c\n"
    with pytest.raises(ImportFailedError) as caught:
        load(x__csv=text)
    assert "--leave-out-duplicates" in caught.value.hint
    result, entries = load(ImportOptions(leave_out_duplicates=True), x__csv=text)
    assert result.duplicates == ("x::1",)
    assert set(entries) == {"x::2"}


def test_json_that_nests_forever_is_a_problem_and_no_crash(load):
    assert "x.jsonl:1" in failing(load, x__jsonl='{"code":' + "[" * 100_000)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("one", ["one"]),
        ("a; b；c", ["a", "b", "c"]),
        ("a<br>b\n- c\n• d", ["a", "b", "c", "d"]),
        ("1.输入缺相 2.驱动器损坏", ["输入缺相", "驱动器损坏"]),
        ("1.a接触不良4.b", ["a接触不良4.b"]),
        ("1) one 2) two 3) three", ["one", "two", "three"]),
        ("fuse 2.5 A blown", ["fuse 2.5 A blown"]),
        ("see 1. and 2.", ["see 1. and 2."]),
        ("1. one\n2. two", ["one", "two"]),
        ("1、一；2、二\n3、三", ["一", "二", "三"]),
        ("1. one 2. two\n3. three", ["one", "two", "three"]),
        ("Either:\n1. one\n2. two", ["Either:", "one", "two"]),
        ("1. a\nor\n1. b\n2. c", ["a", "or", "b", "c"]),
        ("2. two", ["2. two"]),
        ("1.", []),
        ("", []),
        (" ; ", []),
    ],
)
def test_cells_are_split_where_they_list(cell, expected):
    assert items(cell) == expected


@pytest.mark.parametrize(
    ("heading", "column"),
    [
        ("Code", Column("code", None)),
        ("Alarm No.", Column("code", None)),
        ("故障代码", Column("code", None)),
        ("ＣＯＤＥ", Column("code", None)),
        ("cause_zh", Column("causes", "zh")),
        ("Possible Cause (EN)", Column("causes", "en")),
        ("处理方法（英文）", Column("actions", "en")),
        ("中文名称", Column("title", "zh")),
        ("**Remedy**", Column("actions", None)),
        ("colour", None),
        ("", None),
        ("en", None),
        ("Fault cause", None),
    ],
)
def test_headings(heading, column):
    assert column_of(heading) == column


@pytest.mark.parametrize(
    ("headings", "fields"),
    [
        (
            "Error Code (Hex)|Fault Description|Cause of fault|Corrective measures",
            "code title causes actions",
        ),
        (
            "Alarm #|Event name|Description|Root cause|Recommended Solution",
            "code title meaning causes actions",
        ),
        ("Msg. No.|Message text|Possible reasons|How to fix", "code title causes actions"),
        ("错误代码 / Error code|异常名称|可能的原因|处理建议", "code title causes actions"),
        ("故障名称|面板显示|故障原因排查|故障处理对策", "title code causes actions"),
        ("故障代码|故障类型|可能的故障原因|解决方案", "code title causes actions"),
        ("显示码|异常现象说明|排除方法", "code title actions"),
        ("报警ID|报警描述|触发原因|应对措施|报警级别", "code title causes actions severity"),
        ("faultCode|faultDescription|correctiveAction(s)", "code title actions"),
        # Sure ones win; what is of both kinds is neither; a count of faults is no number of one.
        ("Code|Name|Event name|Fault type|Cause", "code title - - causes"),
        ("Code|Name|Possible Causes & Solutions", "code title -"),
        ("代码|名称|原因及处理", "code title -"),
        ("Number of faults|Name", "- title"),
        ("Name|Type|Display", "title - -"),
        ("Parameter No.|Name|Setting range|Default", "- title - -"),
    ],
)
def test_headings_that_nobody_listed_are_understood_by_their_words(headings, fields):
    found = [column.field if column else "-" for column in columns_of(headings.split("|"), ())]
    assert found == fields.split()


def test_a_heading_in_words_of_ones_own_names_its_language(load):
    _, entries = load(x__csv="Error no.,Error description (EN),错误描述（中文）\n7,Door open,门开\n")
    assert (entries["x::7"].en.title, entries["x::7"].zh.title) == ("Door open", "门开")


def test_a_csv_may_have_titles_above_its_heading_and_rows_that_go_on(load):
    text = "Alarm list; CD-40, series 2\n\nCode;Name;Cause;Remedy\n"
    text += "F1;Overload;Belt blocked;Clear it\n;;Motor hot;\n"
    _, entries = load(x__csv=text)
    assert entries["x::F1"].en.causes == ("Belt blocked", "Motor hot")
    assert entries["x::F1"].en.actions == ("Clear it",)


def test_a_file_that_is_called_as_the_plants_own_source_needs_another_name(load):
    with pytest.raises(ImportFailedError) as caught:
        load(plant__csv="code,title\n1,a\n2,b\n")
    assert caught.value.message == "plant.csv: source: `plant` is kept for the plant's own entries"
    assert "--source NAME" in caught.value.hint
    assert set(load(ImportOptions(source="hmi"), plant__csv="code,title\n1,a\n")[1]) == {"hmi::1"}


def test_a_csv_row_with_a_title_and_no_code_is_no_continuation(load):
    assert failing(load, x__csv="code,title\n1,a\n,b\n") == "x.csv:3: code: is empty"


def test_a_vendors_own_classes_are_no_severities_and_are_told(load):
    result, entries = load(x__csv="Code,Name,Level\n1,a,Servo stop\n2,b,High\n3,c,4\n")
    assert [entry.severity for entry in entries.values()] == [None, "high", None]
    assert "x.csv: no severity of ours, left out: Servo stop" in result.notes


def test_the_yaml_loader_makes_nothing_but_text():
    raws, _ = documents.yaml_raws("entries: [{code: !!python/object/apply:os.system [x]}]", "x", [])
    assert raws == [] or not callable(raws[0].fields["code"])


def test_the_demo_plant_imports(store):
    files = sorted((Path(__file__).parents[3] / "demo/knowledge").glob("*.yaml"))
    result = import_files(store, files, ImportOptions(approve_by="shift lead"))
    assert (len(files), result.ignored_fields, result.without_action) == (4, (), 0)
    assert result.total >= 60
