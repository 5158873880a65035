"""Each check on fake machines, sound and broken in the ways that happen."""

import os
import socket
import sqlite3

import pytest
from tests.support import boards
from tests.support.tiny import tiny_bundle

from lineside.cli import main
from lineside.config import BundleConfig, Config, EngineConfig, MqttConfig, PowerConfig
from lineside.doctor import board, bundle, clock, data, disk, memory, permissions, power, units, wear
from lineside.doctor.machine import Machine
from lineside.engine.bundle import FileDigest

NOW_S = 1_790_000_000.0
MEMINFO = (
    "MemTotal: 8000000 kB\nMemAvailable: {} kB\nSwapTotal: 4000000 kB\nCmaTotal: 262144 kB\nCmaFree: {} kB"
)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def machine(root, now_s=NOW_S, deep=False, **config):
    config = {"state_dir": str(root.parent / "state")} | config
    return Machine(Config(**config), root, now_s, deep)


def states(look, machine):
    return {found.name: found.state for found in look(machine)}


def seen(look, machine, name):
    return next(found.seen for found in look(machine) if found.name == name)


def jetson(root, make, release="# R36 (release), REVISION: 4.3, GCID: 38968081"):
    make(root)
    boards.write(root / "etc/nv_tegra_release", release)
    return machine(root)


def program(root, name, script):
    path = root / "usr/bin" / name
    boards.write(path, f"#!/bin/sh\n{script}")
    path.chmod(0o755)


@pytest.mark.parametrize("make", [boards.orin_nano, boards.orin_nx, boards.agx_orin, boards.thor])
def test_a_jetson_is_named_with_its_jetpack(root, make):
    here = jetson(root, make)
    assert states(board.look, here) == {"board.model": "ok", "board.jetpack": "ok"}
    assert "Orin" in seen(board.look, here, "board.model") or make is boards.thor
    assert seen(board.look, here, "board.jetpack") == "JetPack 6.2 (L4T 36.4.3)"
    assert states(power.look, here)["power.sensors"] == "ok"


@pytest.mark.parametrize(
    ("release", "state", "told"),
    [
        ("# R38 (release), REVISION: 2.0, GCID: 1", "ok", "JetPack 7.0"),
        ("# R36 (release), REVISION: 9.9, GCID: 1", "ok", "JetPack 6 (L4T 36.9.9)"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "warning", "JetPack 5.1.2"),
        ("# R99 (release), REVISION: 1, GCID: 1", "note", "L4T 99.1.0"),
        ("garbage\0\x1b[31m", "warning", "names no release"),
    ],
)
def test_a_release_is_judged(root, release, state, told):
    here = jetson(root, boards.orin_nano, release)
    assert states(board.look, here)["board.jetpack"] == state
    assert told in seen(board.look, here, "board.jetpack")


def test_a_pc_has_no_jetpack_and_no_modes(root):
    boards.pc(root)
    assert states(board.look, machine(root)) == {"board.model": "ok", "board.jetpack": "not_applicable"}
    assert states(power.look, machine(root)) == {"power.sensors": "ok", "power.modes": "not_applicable"}


def test_a_limit_that_nothing_can_measure(root):
    limited = machine(root, power=PowerConfig(limit_w=10))
    assert states(power.look, limited)["power.sensors"] == "warning"
    assert states(power.look, machine(root))["power.sensors"] == "note"


def test_the_power_helper_is_looked_for(root, tmp_path):
    here = jetson(root, boards.orin_nano)
    path = tmp_path / "power.sock"
    config = PowerConfig(helper_socket=str(path))
    here = machine(root, power=config)
    assert states(power.look, here)["power.helper"] == "note"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert states(power.look, here)["power.helper"] == "ok"
    assert seen(power.look, here, "power.modes").startswith("15W of ")


def test_memory_is_held_against_the_bundle(root, tmp_path):
    here = jetson(root, boards.orin_nano)
    boards.write(root / "proc/meminfo", MEMINFO.format(7_000_000, 9000))
    boards.write(root / "proc/swaps", "Filename Type Size\n/dev/mmcblk0p2 partition 4000000")
    found = states(memory.look, here)
    assert found == {
        "memory.ram": "ok",
        "memory.swap": "note",
        "memory.cma": "note",
        "memory.bundle": "not_applicable",
    }
    made = tiny_bundle(tmp_path / "bundle")
    write_manifest(made)
    here = machine(root, bundle=BundleConfig(str(made.path)))
    assert states(memory.look, here)["memory.bundle"] == "ok"
    boards.write(root / "proc/meminfo", MEMINFO.format(100_000, 200_000))
    assert states(memory.look, here)["memory.bundle"] == "warning"
    assert states(memory.look, here)["memory.cma"] == "ok"
    boards.write(root / "proc/meminfo", "MemTotal: 200000 kB\nMemAvailable: 100000 kB")
    assert states(memory.look, here)["memory.bundle"] == "problem"
    boards.write(root / "proc/meminfo", "nothing")
    assert states(memory.look, here) == {"memory.ram": "unknown"}


@pytest.mark.parametrize(
    ("mount", "state"),
    [
        ("1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw", "ok"),
        ("1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw,data=writeback", "warning"),
        ("1 0 0:1 / / rw - tmpfs tmpfs rw", "warning"),
        ("1 0 0:1 / / rw - nfs4 host:/x rw", "warning"),
        ("1 0 8:1 / / rw - vfat /dev/sda1 rw", "problem"),
        ("short line", "unknown"),
    ],
)
def test_the_file_system_under_the_state_is_judged(root, mount, state):
    boards.write(root / "proc/self/mountinfo", mount)
    assert states(disk.look, machine(root))["disk.filesystem"] == state


def test_the_innermost_mount_holds_the_state(root, tmp_path):
    lines = f"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / {tmp_path} rw - xfs b rw\n3 1 8:3 / /tm rw - vfat c rw"
    boards.write(root / "proc/self/mountinfo", lines)
    assert disk.find_mount(machine(root), tmp_path / "not/there").kind == "xfs"


def test_a_full_disk(root, tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    for free, state in ((10 << 20, "problem"), (500 << 20, "warning"), (1 << 40, "ok")):
        fake = os.statvfs_result(
            (*real[:4], free // real.f_frsize, *real[5:7], real.f_files // 1000, *real[8:])
        )
        monkeypatch.setattr(os, "statvfs", lambda _, fake=fake: fake)
        assert states(disk.look, machine(root))["disk.space"] == state
        assert states(disk.look, machine(root))["disk.inodes"] == "warning"


def test_the_state_directory_is_judged(root, tmp_path):
    state = tmp_path / "state"
    assert states(disk.look, machine(root))["disk.state"] == "note"
    state.mkdir()
    assert states(disk.look, machine(root))["disk.state"] == "ok"
    state.chmod(0o777)
    assert states(permissions.look, machine(root)) == {"permissions.state": "problem"}
    state.rmdir()
    state.write_text("")
    assert states(disk.look, machine(root))["disk.state"] == "problem"


def test_a_clock_in_1970_without_source_or_battery(root):
    boards.write(root / "sys/class/rtc/rtc0/since_epoch", 100)
    show = "printf 'Id=chrony.service\\nActiveState=inactive\\n'"
    program(root, "systemctl", show)
    program(root, "timedatectl", "echo NTPSynchronized=no")
    found = states(clock.look, machine(root, 100.0))
    assert found == {
        "clock.year": "problem",
        "clock.source": "warning",
        "clock.synchronised": "warning",
        "clock.rtc": "warning",
        "clock.battery": "unknown",
    }


def test_a_clock_as_it_should_be_and_one_that_drifts(root):
    boards.write(root / "sys/class/rtc/rtc0/since_epoch", int(NOW_S) - 900)
    boards.write(root / "sys/class/rtc/rtc1/since_epoch", int(NOW_S) + 1)
    boards.write(root / "sys/class/rtc/rtc1/hctosys", 1)
    blocks = (
        "Id=chrony.service\\nActiveState=inactive\\n\\nId=systemd-timesyncd.service\\nActiveState=active\\n"
    )
    program(root, "systemctl", f"printf '{blocks}'")
    program(root, "timedatectl", "echo NTPSynchronized=yes")
    boards.write(root / "proc/uptime", "60.0 9.0")
    boards.write(root / "run/lineside/wear.json", '{"v":1,"up_s":0,"clocks":{"rtc1":{"flags":0}}}')
    assert set(states(clock.look, machine(root)).values()) == {"ok"}
    assert seen(clock.look, machine(root), "clock.source") == "systemd-timesyncd"
    boards.write(root / "sys/class/rtc/rtc1/since_epoch", int(NOW_S) + 600)
    assert states(clock.look, machine(root))["clock.rtc"] == "warning"


def test_units_are_judged(root):
    program(
        root,
        "systemctl",
        "cat <<END\nId=lineside.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n"
        "NRestarts=4\nWatchdogUSec=infinity\n\nId=lineside-broker.service\nLoadState=loaded\n"
        "ActiveState=active\nUnitFileState=disabled\n\nId=lineside-power.socket\nLoadState=not-found\nEND",
    )
    assert states(units.look, machine(root)) == {
        "units.lineside.service": "problem",
        "watchdog": "warning",
        "units.lineside-broker.service": "warning",
        "units.lineside-power.socket": "note",
    }
    program(root, "systemctl", "exit 1")
    assert states(units.look, machine(root)) == {"units": "unknown"}


def write_manifest(made, **files):
    import msgspec

    from lineside.engine.bundle import MANIFEST
    from lineside_models.toml import to_toml

    manifest = msgspec.structs.replace(made.manifest, files=files or made.manifest.files)
    (made.path / MANIFEST).write_text(to_toml(msgspec.to_builtins(manifest)))


def test_a_bundle_is_held_against_its_manifest(root, tmp_path):
    here = machine(root, bundle=BundleConfig(str(tmp_path / "bundle")))
    assert states(bundle.look, here) == {"bundle.manifest": "problem"}
    made = tiny_bundle(tmp_path / "bundle")
    size = (made.path / "tokenizer.json").stat().st_size
    write_manifest(made, **{"tokenizer.json": FileDigest("0" * 64, size)})
    assert states(bundle.look, here)["bundle.files"] == "ok", "the digest is not looked at"
    deep = machine(root, deep=True, bundle=BundleConfig(str(made.path)))
    assert states(bundle.look, deep)["bundle.files"] == "problem"
    write_manifest(made, **{"tokenizer.json": FileDigest("0" * 64, 1)})
    assert states(bundle.look, here)["bundle.files"] == "problem"
    rules = machine(root, engine=EngineConfig(name="rules"))
    assert states(bundle.look, rules) == {"bundle.manifest": "not_applicable"}


def test_data_files_are_read_and_never_written(root, tmp_path):
    here, state = machine(root), tmp_path / "state"
    assert states(data.look_at_knowledge, here) == {"knowledge.base": "warning"}
    assert states(data.look_at_journal, here) == {"journal.file": "not_applicable"}
    state.mkdir()
    (state / "knowledge.db").write_bytes(os.urandom(5000))
    (state / "journal.db").write_bytes(b"SQLite format 3\0" + os.urandom(9000))
    assert states(data.look_at_knowledge, here) == {"knowledge.base": "problem"}
    assert states(data.look_at_journal, here) == {"journal.file": "problem"}
    (state / "journal.db").unlink()
    with sqlite3.connect(state / "journal.db") as made:
        made.execute("CREATE TABLE t (x)")
    made.close()
    assert states(data.look_at_journal, here) == {"journal.file": "ok"}
    (state / "journal.db-wal").write_bytes(b"x")
    assert "in use" in seen(data.look_at_journal, here, "journal.file")
    assert sorted(path.name for path in state.iterdir()) == ["journal.db", "journal.db-wal", "knowledge.db"]


def test_a_real_knowledge_base_is_counted(root, tmp_path):
    manual, config = tmp_path / "m.jsonl", tmp_path / "c.toml"
    manual.write_text('{"vendor":"A","unit":"a","code":"E1","en":{"title":"Motor hot"}}\n')
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n')
    assert main(["kb", "import", str(manual), "--approve-by", "lead", "--config", str(config)]) == 0
    found = next(data.look_at_knowledge(machine(root)))
    assert (found.state, found.values["knowledge_entries"]) == ("ok", 1)


def test_secrets_are_for_few(root, tmp_path):
    secret = tmp_path / "password"
    here = machine(root, mqtt=MqttConfig(password_file=str(secret)))
    assert states(permissions.look, here) == {"permissions.password_file": "problem"}
    secret.write_text("x")
    secret.chmod(0o644)
    assert states(permissions.look, here) == {"permissions.password_file": "warning"}
    secret.chmod(0o640)
    assert states(permissions.look, here) == {"permissions.password_file": "ok"}
    secret.unlink()
    os.mkfifo(secret)
    assert states(permissions.look, here) == {"permissions.password_file": "problem"}


@pytest.mark.parametrize(
    ("life", "spare", "state", "percent"),
    [
        ("0x01 0x02", "0x01", "ok", 20),
        ("0x08 0x01", "0x01", "warning", 80),
        ("0x0a 0x0a", "0x01", "warning", 100),
        ("0x0b 0x01", "0x01", "problem", 110),
        ("0x01 0x01", "0x02", "warning", 10),
        ("0x01 0x01", "0x03", "problem", 10),
        ("0x00 0x00", "0x00", "unknown", None),
        ("garbage 0xzz", "", "unknown", None),
    ],
)
def test_an_emmc_tells_how_worn_it_is(root, life, spare, state, percent):
    boards.write(root / "sys/block/mmcblk0/device/life_time", life)
    boards.write(root / "sys/block/mmcblk0/device/pre_eol_info", spare)
    (found,) = wear.look(machine(root))
    assert (found.name, found.state) == ("wear.mmcblk0", state)
    assert found.values.get("mmcblk0_used_percent") == percent
