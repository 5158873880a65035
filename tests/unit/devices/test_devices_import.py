import threading

import pytest
from tests.unit.diagnosis import office_files as office

from lineside.cli import main
from lineside.devices import importing
from lineside.devices.file import DeviceStore, read
from lineside.devices.importing import import_devices, remove_device
from lineside.devices.registry import Device
from lineside.diagnosis.knowledge.importers import ImportFailedError
from lineside.errors import LinesideError

DEVICES = "设备编号;厂家;型号;固件版本;安装位置;语言;安全说明;进制\n"
DEVICES += "L1/CD-07;Acme;CD-40;2.1;1号厂房;中文;双路供电;十六进制\n"
TAGS = "device,tag,description,unit,scale,low limit,high limit\n"
TAGS += 'L1/CD-07,DB10.temp,motor temperature,Cel,"0,1",,65\n'
BITS = "Trigger tag\tTrigger bit\tCode\tAlarm text\nAlarms.Word1\t3\tF012\tMotor too hot\n"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "devices.json"


@pytest.fixture
def load(tmp_path, store):
    def do(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_devices(store, [path])

    return do


def test_three_kinds_of_tables(load, store):
    assert load("devices.csv", DEVICES.encode("gb18030")).counts == {"devices": 1}
    assert load("tags.csv", TAGS).counts == {"tags": 1}
    assert load("bits.tsv", BITS).counts == {"bits": 1}
    registry = read(store)
    device = registry.device("L1/CD-07")
    assert (device.vendor, device.fw, device.location) == ("Acme", "2.1", "1号厂房")
    assert (device.language, device.safety, device.code_base) == ("zh", ("双路供电",), "hex")
    tag = registry.tag("L1/CD-07", "db10.temp")
    assert (tag.name, tag.scale, tag.lo, tag.hi) == ("motor temperature", 0.1, None, 65.0)
    assert registry.bit("any", "alarms.word1", 3).code == "F012"
    assert registry.version.startswith("3-")


def test_a_workbook_with_a_sheet_for_each(load, store):
    content = office.xlsx(
        Notes=([], []),
        Devices=([["Plant list"], ["Device", "Vendor", "Colour"], ["L1/A", "Acme", "red"]], []),
        Tags=([["Tag", "Unit", "Hi"], ["T1", "bar", 6.5]], []),
        Bits=([["Word", "Bit", "Code"], ["W1", 0, "E1"]], []),
    )
    result = load("plant.xlsx", content)
    assert result.counts == {"devices": 1, "tags": 1, "bits": 1}
    assert result.ignored == ("Colour",)
    assert ("plant.xlsx:Devices", "devices", (("Device", "id"), ("Vendor", "vendor"))) in result.mappings


def test_rows_are_added_and_replaced_by_key(load, store):
    load("a.csv", "device,vendor\nA,x\nB,x\n")
    result = load("a.csv", "device,vendor\nB,y\nC,y\n")
    assert (result.replaced, [one.id for one in read(store).devices]) == (1, ["A", "B", "C"])
    assert read(store).device("B").vendor == "y"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "colour,size\nred,1\n", "a.csv: its columns are not understood: colour, size"),
        ("a.csv", "device,vendor\n,x\n", "a.csv:2: id: Object missing required field"),
        ("a.csv", "device,language\nA,fr\n", "a.csv:2: language: "),
        ("a.csv", "device,code base\nA,octal\n", "a.csv:2: code_base: "),
        ("a.csv", "word,bit,code\nW,64,E\n", "a.csv:2: bit: "),
        ("a.csv", "word,bit,code\nW,x,E\n", "a.csv:2: bit: "),
        ("a.csv", "word,bit,code\nW,1,E\nw,1,F\n", "a.csv:3: word: |w|1 stands twice"),
        ("a.csv", "tag,hi\nT,high\n", "a.csv:2: hi: "),
        ("a.csv", "tag,scale\nT,nan\n", "a.csv:2: scale: "),
        ("a.csv", "tag,lo,hi\nT,5,4\n", "a.csv:2: lo: 5 is above hi 4"),
        ("a.csv", "tag,hi,max\nT,5,4\n", "a.csv: hi: two columns mean it"),
        ("a.csv", "device,vendor\n", "a.csv: holds no row"),
        ("a.csv", f"device,vendor\nA,{'x' * 129}\n", "a.csv:2: vendor: "),
        ("a.pdf", "x", "the ending is not one of .xlsx .csv .tsv"),
        ("a.xlsx", "x", "a.xlsx: is no such file"),
    ],
)
def test_problems_name_place_and_field(load, store, name, content, message):
    with pytest.raises(ImportFailedError, match="import devices") as caught:
        load(name, content)
    assert message.casefold() in caught.value.message.casefold()
    assert not store.exists()


def test_rows_and_files_are_bounded(load, monkeypatch):
    monkeypatch.setattr(importing, "MAX_ROWS", 1)
    with pytest.raises(ImportFailedError, match="2 rows, at most 1"):
        load("a.csv", "device,vendor\nA,x\nB,x\n")
    monkeypatch.setattr(importing, "MAX_FILE_BYTES", 5)
    with pytest.raises(ImportFailedError, match="has more than 5 bytes"):
        load("a.csv", "device,vendor\nA,x\n")


def test_removing_a_device_takes_its_rows(load, store):
    load("devices.csv", DEVICES)
    load("tags.csv", TAGS)
    load("bits.tsv", BITS)
    registry, gone = remove_device(store, "L1/CD-07")
    assert (gone, len(registry.bits), registry.version.split("-")[0]) == (2, 1, "4")
    assert remove_device(store, "L1/CD-07")[1] == 0
    assert read(store).version == registry.version


def test_an_import_is_seen_by_an_open_store(load, store):
    opened = DeviceStore(store)
    assert opened.registry().devices == ()
    load("a.csv", "device,vendor\nA,x\n")
    assert opened.registry().device("A") == Device(id="A", vendor="x")


def test_an_unusable_file_does_not_take_the_good_content_away(load, store, caplog):
    load("a.csv", "device,vendor\nA,x\n")
    opened = DeviceStore(store)
    store.write_bytes(b"{")
    assert opened.registry().device("A") is not None
    assert opened.registry().device("A") is not None
    assert len(caplog.records) == 1
    with pytest.raises(LinesideError, match="import the devices again"):
        DeviceStore(store)


def test_imports_at_once_lose_nothing(tmp_path, store):
    files = []
    for name in "ABCDEF":
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text(f"device,vendor\n{name},x\n")
    threads = [threading.Thread(target=import_devices, args=(store, [file])) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.id for one in read(store).devices] == list("ABCDEF")


def test_the_command(tmp_path, capsys):
    config, plant = tmp_path / "c.toml", tmp_path / "devices.csv"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n')
    plant.write_text(DEVICES)
    tags = tmp_path / "tags.csv"
    tags.write_text(TAGS)

    def run(*arguments):
        capsys.readouterr()
        assert main(["devices", "--config", str(config), *map(str, arguments)]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    out = run("import", plant, tags)
    assert "devices.csv: devices: 设备编号 -> id, 厂家 -> vendor" in out
    assert "read 1 devices, 1 tags; 0 replaced; version 1-" in out
    assert "L1/CD-07  Acme  CD-40  2.1  1号厂房" in run("list")
    assert "motor temperature" in run("show", "L1/CD-07")
    assert "1 devices in" in run("export", "devices", tmp_path / "out.csv")
    assert run("export", "tags").startswith("tag,device,name,unit,scale,offset,lo,hi\nDB10.temp,L1/CD-07,")
    (tmp_path / "tags2.csv").write_text(run("export", "tags"))
    assert "2 replaced" in run("import", tmp_path / "out.csv", tmp_path / "tags2.csv")
    before = run("list").split()[1].split("-")[1].rstrip(",")
    assert before == out.split("version 1-")[1].strip()
    assert "2 rows removed" in run("remove", "L1/CD-07")
    assert main(["devices", "--config", str(config), "show", "L1/CD-07"]) == 1
    assert main(["devices", "--config", str(config), "remove", "x"]) == 1
    assert "no device `x`" in capsys.readouterr().err
