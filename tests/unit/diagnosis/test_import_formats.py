import io
import json
import zipfile
from dataclasses import replace

import pytest
from tests.unit.diagnosis import office_files as office

from lineside.devices.importing import import_devices
from lineside.diagnosis.knowledge.importers import (
    ImportFailedError,
    ImportOptions,
    confined,
    extra,
    import_files,
    pages,
    sheets,
)
from lineside.diagnosis.knowledge.importers import pdf as pdf_files
from lineside.diagnosis.knowledge.importers.columns import Column
from lineside.diagnosis.knowledge.writing import read_all
from lineside.errors import LinesideError


@pytest.fixture
def load(tmp_path):
    """load(name, content) -> (result, entries by id without the source)"""

    def do(name, content, options=None):
        path, store = tmp_path / name, tmp_path / "knowledge.db"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        options = replace(options or ImportOptions(), source="s", approve_by="shift lead")
        return import_files(store, [path], options), {e.id[2:]: e for e in read_all(store).entries}

    return do


def failing(load, name, content, options=None):
    with pytest.raises(ImportFailedError) as caught:
        load(name, content, options)
    return str(caught.value)


CHINESE = "报警号,报警内容,处理方法\n10,电机过热报警，请检查,检查风扇\n11,变频器过载,减小负载\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t"), ("txt", ";")])
def test_text_files_in_every_encoding(load, encoding, ending, separator):
    result, entries = load(f"a.{ending}", CHINESE.replace(",", separator).encode(encoding))
    assert entries[":10"].zh.title == "电机过热报警，请检查"
    assert entries[":11"].zh.actions == ("减小负载",)
    assert ("read as" in " ".join(result.notes)) == (not encoding.startswith("utf-8"))


def test_western_accents_are_not_taken_for_chinese(load):
    data = "code,title\n1,Überstrom am Umrichter, Phase gestört\n".replace(", P", " P").encode("cp1252")
    assert "--encoding cp1252" in failing(load, "a.csv", data)
    _, entries = load("a.csv", data, ImportOptions(encoding="cp1252"))
    assert entries[":1"].en.title.startswith("Überstrom")
    assert "no encoding" in failing(load, "a.csv", data, ImportOptions(encoding="klingon"))


def test_json_in_the_forms_that_controllers_have(load):
    flat = [{"alarmNo": 5, "message": "Overload", "cause": "jam; stall", "solution": "clear"}]
    _, entries = load("a.json", json.dumps(flat))
    assert (entries[":5"].en.causes, entries[":5"].en.actions) == (("jam", "stall"), ("clear",))
    nested = [
        {
            "id": 17,
            "level": 1,
            "en": {"description": "Stop", "solution": "x"},
            "zh_CN": {"description": "急停"},
        }
    ]
    _, entries = load("b.json", json.dumps({"vendor": "V", "entries": nested}))
    assert (entries[":17"].en.title, entries[":17"].zh.title, entries[":17"].vendor) == ("Stop", "急停", "V")


def test_a_wrong_guess_is_shown_and_can_be_corrected(load):
    text = "id,报警号,报警内容,备注\n1,A-10,过热,风扇停转\n"
    message = failing(load, "a.csv", text)
    assert "code: two columns mean it" in message
    assert "--map FIELD=HEADING" in message
    fixed = ImportOptions(corrections=((Column("code", None), "报警号"), (Column("causes", "zh"), "备注")))
    result, entries = load("a.csv", text, fixed)
    assert entries[":A-10"].zh.causes == ("风扇停转",)
    assert result.mappings[0].columns == (("报警号", "code"), ("报警内容", "title.zh"), ("备注", "causes.zh"))
    assert result.ignored_fields == ("id",)


def test_a_correction_for_no_column_is_a_problem(load):
    wrong = ImportOptions(corrections=((Column("code", None), "nummer"),))
    assert "--map code: no column `nummer` in: code, title" in failing(
        load, "a.csv", "code,title\n1,a\n", wrong
    )


ROWS = [
    ["Acme drive alarms", None, None, None],
    [None, None, None, None],
    ["Code", "Title", "Cause", "Unit"],
    ["F1", "Overload", "jam", "drive"],
    [None, None, "stall", None],
    ["F2", "Fan stopped", "no supply", None],
    ["Panel", "Panel", "Panel", "Panel"],
    [7.0, "Door open", "", "panel"],
]
MERGES = ["A1:D1", "A4:A5", "B4:B5", "D4:D6"]


def check_sheet(entries):
    assert set(entries) == {"drive:F1", "drive:F2", "panel:7"}
    assert entries["drive:F1"].en.causes == ("jam", "stall")
    assert entries["drive:F1"].en.title == "Overload"
    assert entries["panel:7"].en.title == "Door open"


def test_excel_with_titles_above_and_merged_cells(load):
    result, entries = load("a.xlsx", office.xlsx(Notes=([["hello"]], []), Alarms=(ROWS, MERGES)))
    check_sheet(entries)
    assert result.mappings[0].where == "a.xlsx:Alarms"
    assert result.without_cause == 1


def test_old_excel_with_merged_cells(load):
    merges = [(0, 0, 0, 3), (3, 4, 0, 0), (3, 4, 1, 1), (3, 5, 3, 3)]
    check_sheet(load("a.xls", office.xls(ROWS, merges))[1])


def test_excel_problems_name_sheet_and_row(load):
    content = office.xlsx(Alarms=([["Code", "Title"], ["--", "a"]], []))
    assert "a.xlsx:Alarms:2: code: `--` is no code" in failing(load, "a.xlsx", content)


def test_a_heading_of_two_rows_with_a_column_for_each_language(load):
    rows = [["Code", "Title", None, "Cause", None], [None, "中文", "English", "中文", "English"]]
    rows += [["E1", "过热", "Too hot", "风扇停转", "fan stopped"]]
    _, entries = load("a.xlsx", office.xlsx(A=(rows, ["A1:A2", "B1:C1", "D1:E1"])))
    assert (entries[":E1"].zh.title, entries[":E1"].en.causes) == ("过热", ("fan stopped",))


TIA = [
    ["ID", "Name", "Alarm text [en-US], Alarm text 1", "Alarm text [zh-CN], Alarm text 1"],
    [1, "Discrete_alarm_1", 'Motor <field ref="0" /> too hot', '电机 <field ref="0" /> 过热'],
    [2, "Discrete_alarm_2", "Guard door open", "<No value>"],
]
TIA_MORE = [
    [
        "Alarm text [de-DE], Alarm text 1",
        "Class",
        "Trigger tag",
        "Trigger bit",
        "Info text [en-US], Info text",
    ],
    ["Motor heiß", "Errors", "HMI_Alarms.Word1", 3, "Check the fan."],
    ["Tür offen", "Errors", "HMI_Alarms.Word1", 12, "<No value>"],
]


def test_the_alarm_list_of_tia_portal(load):
    rows = [one + other for one, other in zip(TIA, TIA_MORE, strict=True)]
    result, entries = load("HMIAlarms.xlsx", office.xlsx(DiscreteAlarms=(rows, [])))
    assert set(entries) == {":HMI_Alarms.Word1.3", ":HMI_Alarms.Word1.12"}
    first, second = entries[":HMI_Alarms.Word1.3"], entries[":HMI_Alarms.Word1.12"]
    assert (first.en.title, first.zh.title) == ("Motor … too hot", "电机 … 过热")
    assert first.en.meaning == "Check the fan."
    assert (second.zh, second.en.meaning) == (None, "")
    assert "Class" in result.ignored_fields
    assert "Name" in result.ignored_fields


def test_the_lists_own_number_can_be_made_the_code(load):
    rows = [one + other for one, other in zip(TIA, TIA_MORE, strict=True)]
    numbered = ImportOptions(corrections=((Column("code", None), "ID"),))
    assert set(load("a.xlsx", office.xlsx(A=(rows, [])), numbered)[1]) == {":1", ":2"}


def test_one_code_for_several_models_and_firmware_is_several_entries(load):
    text = "code,title,model,firmware\n1,Old,CD-40,<2\n1,New,CD-40,>=2\n1,Other,CD-60,\n"
    text += "2,Alone,CD-40,\n2,Alone,CD-40,\n"
    result, entries = load("a.csv", text)
    assert set(entries) == {":1@CD-40 <2", ":1@CD-40 >=2", ":1@CD-60", ":2"}
    assert (result.repeated, result.duplicates) == (1, ())


WORD_TEXT = [
    ("F001 DC link overvoltage", "Heading 2"),
    ("The voltage went above 800 V.", "Normal"),
    ("Causes:", "Normal"),
    ("Ramp too short", "List Bullet"),
    ("Mains too high", "List Bullet"),
    ("Remedy: Lengthen the ramp.", "Normal"),
    ("Maintenance", "Heading 1"),
    ("F1 and F2 are fuses.", "Normal"),
]


def test_word_tables_and_running_text(load):
    rows = [["Code", "Description", "Remedy"], ["E1", "Jam", "clear"], ["E1", "Jam", "restart"]]
    content = office.word(rows, WORD_TEXT, [((1, 0), (2, 0)), ((1, 1), (2, 1))])
    result, entries = load("a.docx", content)
    assert entries[":E1"].en.actions == ("clear", "restart")
    assert entries[":F001"].en.causes == ("Ramp too short", "Mains too high")
    assert entries[":F001"].en.meaning == "The voltage went above 800 V."
    assert "1 entries of running text" in " ".join(result.notes)
    assert set(entries) == {":E1", ":F001"}


def test_an_html_table_that_spans_too_far_is_refused(load):
    row = "<tr><td colspan=1000>E1<td colspan=1000>Fan</tr>"
    assert "table 1 has more than 500,000 cells" in failing(load, "a.html", f"<table>{row * 300}</table>")


HTML = """<html><body><h2>F7 Fan stopped</h2><p>Possible causes:</p><ul><li>no supply<li>dust</ul>
<p><b>Remedy:</b> Clean it.<br>Check the fuse.</p>
<table><tr><th>Code<th colspan=2>Title</tr><tr><td></td><td>English</td><td>中文</td></tr>
<tr><td rowspan=2>E1</td><td>Jam</td><td>堵料</td></tr><tr><td>of paper</td><td></td></tr>
<tr><td>E2<td>Door<br>open<td>门开</tr></table></body></html>"""


def test_web_pages(load):
    _, entries = load("a.html", HTML)
    assert entries[":E1"].zh.title == "堵料"
    assert entries[":E1"].en.title == "Jam of paper"
    assert entries[":E2"].en.title == "Door open"
    assert entries[":F7"].en.causes == ("no supply", "dust")
    assert entries[":F7"].en.actions == ("Clean it.", "Check the fuse.")


MARKDOWN = """# Faults
## 报警 12：电机过载
原因：
- 负载过大
- 堵转
处理方法：减小负载。

1. Cause analysis is a chapter, not a code
2. Remedy
"""


def test_markdown_text(load):
    _, entries = load("a.md", MARKDOWN)
    assert set(entries) == {":12"}
    assert entries[":12"].zh.causes == ("负载过大", "堵转")
    assert entries[":12"].zh.actions[0] == "减小负载。"


PDF = office.pdf(
    [
        office.text(50, 780, "Alarm list"),
        *office.grid(
            700, [["Code", "Title", "Remedy"], ["E1", "Jam", "Clear it"], ["", "of paper", "Restart"]]
        ),
        office.text(50, 500, "F100 Encoder cable broken"),
        office.text(50, 485, "Cause: The plug is loose or the cable has been bent too"),
        office.text(50, 470, "often."),
        office.text(50, 455, "Remedy: Replace the cable."),
    ],
    [],
    office.grid(700, [["E2", "Door open", "Close it"]]),
    [],
)


def test_pdf_tables_over_pages_running_text_and_scanned_pages(load):
    result, entries = load("a.pdf", PDF)
    assert set(entries) == {":E1", ":E2", ":F100"}
    assert entries[":E1"].en.title == "Jam of paper"
    assert entries[":E1"].en.actions == ("Clear it", "Restart")
    assert entries[":E2"].en.title == "Door open"
    assert entries[":F100"].en.causes == ("The plug is loose or the cable has been bent too often.",)
    assert "no text on pages 2, 4: scanned?" in " ".join(result.notes)


def test_a_pdf_of_pictures_alone_is_refused_and_says_so(load):
    assert "no text on pages 1, 2: scanned?" in failing(load, "a.pdf", office.pdf([], []))


def test_pages_are_bounded(load):
    content = office.pdf(*([] for _ in range(pdf_files.MAX_PAGES + 1)))
    assert "a.pdf: has 3001 pages, at most 3000" in failing(load, "a.pdf", content)


def test_a_pdf_whose_objects_refer_to_themselves_ends_with_what_to_do(load, monkeypatch):
    monkeypatch.setattr(confined, "PAGE_S", 1)
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    assert font in PDF
    with pytest.raises(LinesideError) as caught:
        load("a.pdf", PDF.replace(font, b"3 0 R".ljust(len(font))))
    assert "a.pdf: cannot be read: one page takes more than 1 s" in caught.value.message
    assert "print it into a new PDF, or convert it to CSV" in caught.value.hint


def test_a_pdf_that_unpacks_without_end_is_refused(load, monkeypatch):
    monkeypatch.setattr(confined, "LIMIT_BYTES", 256 << 20)
    assert "of memory" in failing(load, "a.pdf", office.pdf([" " * (200 << 20)]))


def test_sheets_are_bounded(monkeypatch):
    monkeypatch.setattr(sheets, "MAX_ROWS", 3)
    with pytest.raises(extra.UnreadableError, match="sheet A has 8 rows"):
        sheets.xlsx_grids(office.xlsx(A=(ROWS, [])))
    with pytest.raises(extra.UnreadableError, match="sheet Alarms has 8 rows"):
        sheets.xls_grids(office.xls(ROWS))


def test_a_sheet_that_ends_a_billion_cells_away_is_refused(load):
    content = office.xlsx(A=(ROWS, []))
    far = altered(
        content, b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )
    assert "a.xlsx: sheet A has 1048576 rows and 16384 columns" in failing(load, "a.xlsx", far)


MERGED = b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'


@pytest.mark.parametrize("ending", ["xlsx", "docx"])
def test_a_file_that_takes_all_memory_ends_with_what_to_do(load, monkeypatch, ending):
    monkeypatch.setattr(confined, "LIMIT_BYTES", 200 << 20)
    if ending == "xlsx":
        content = altered(office.xlsx(A=(ROWS, [])), b"</sheetData>", MERGED)
    else:
        many = b"<w:p><w:r><w:t>x</w:t></w:r></w:p>" * 300_000
        word = office.word(paragraphs=[("F1 Title", "Heading 1")])
        content = altered(word, b"<w:body>", b"<w:body>" + many)
    with pytest.raises(LinesideError) as caught:
        load(f"a.{ending}", content)
    assert f"a.{ending}: cannot be read: " in caught.value.message
    assert "of memory" in caught.value.message
    assert "convert it to CSV, or import it in parts" in caught.value.hint


@pytest.mark.parametrize("ending", ["xlsx", "xls", "docx", "html"])
def test_every_file_has_its_time(load, monkeypatch, ending):
    monkeypatch.setattr(confined, "FILE_S", 0.02)
    contents = {
        "xlsx": office.xlsx(A=(ROWS, [])),
        "xls": office.xls(ROWS * 500),
        "docx": office.word(paragraphs=[("F1 Title", "Heading 1")]),
        "html": b"<p>F1 Title</p>",
    }
    assert "cannot be read: it takes more than 0.02 s" in failing(load, f"a.{ending}", contents[ending])


def test_devices_are_read_within_the_same_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(confined, "FILE_S", 0.02)
    path = tmp_path / "plant.xlsx"
    path.write_bytes(office.xlsx(A=([["device", "vendor"], ["L1", "Acme"]], [])))
    with pytest.raises(LinesideError, match=r"it takes more than 0\.02 s"):
        import_devices(tmp_path / "devices.json", [path])


def altered(archive, old, new):
    """An office file whose parts hold something else."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        assert any(old in source.read(name) for name in source.namelist())
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(old, new))
    return stream.getvalue()


@pytest.mark.parametrize("ending", ["xlsx", "xls", "docx", "pdf"])
def test_a_damaged_file_is_named(load, ending):
    assert f"a.{ending}: " in failing(load, f"a.{ending}", b"garbage" * 100)


@pytest.mark.parametrize(
    ("old", "new"), [(b"w:body", b"w:bodx"), (b'<w:pStyle w:val="Heading1"/>', b"<w:pStyle/>")]
)
def test_a_word_file_of_sound_xml_and_damaged_sense_is_named(load, old, new):
    content = altered(office.word(paragraphs=[("F1 Title", "Heading 1")]), old, new)
    assert "a.docx: cannot be read: " in failing(load, "a.docx", content)


def test_an_archive_of_no_known_version_is_named(load):
    content = bytearray(office.xlsx(A=(ROWS, [])))
    content[content.index(b"PK\x01\x02") + 6] = 128
    assert "a.xlsx: is no such file, is damaged" in failing(load, "a.xlsx", bytes(content))


@pytest.mark.parametrize("ending", ["xlsx", "docx"])
def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch, ending):
    monkeypatch.setattr(extra, "MAX_UNPACKED_BYTES", 1000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 100_000)
    read = {"xlsx": sheets.xlsx_grids, "docx": pages.docx_parts}[ending]
    with pytest.raises(extra.UnreadableError, match="unpacks to 100000 bytes"):
        read(stream.getvalue())


def test_a_missing_library_names_the_extra(load, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(LinesideError, match=r"lineside\[import\]"):
        load("a.xlsx", office.xlsx(A=(ROWS, [])))


def test_an_import_without_approval_stays_a_draft(tmp_path):
    path, store = tmp_path / "a.csv", tmp_path / "knowledge.db"
    path.write_text("code,title\n1,a\n")
    result = import_files(store, [path])
    assert (result.approved, result.version, result.total, result.imported) == (False, "0", 0, 1)
    assert not store.exists()
