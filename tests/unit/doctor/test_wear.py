"""What root measures and the doctor reads: by faked answers and by this machine's own."""

import ctypes
import errno
import json
import os
import struct

import pytest
from tests.support import boards

from lineside.cli import main
from lineside.config import Config
from lineside.doctor import clock, measure, measured, wear
from lineside.doctor.machine import Machine
from lineside.doctor.measured import Clock, Measured, Nvme, read_measured, write_measured
from lineside.errors import LinesideError

SOUND = Nvme(used_percent=3, spare_threshold_percent=10, written_bytes=7)


@pytest.fixture
def machine(tmp_path):
    """With a drive and two clocks; it has been up for 10000 s."""
    for name in ("nvme0", "nvme0n1", "rtc0", "rtc1", "rtc"):
        boards.write(tmp_path / "dev" / name, "")
    boards.write(tmp_path / "proc/uptime", "10000.5 9.0")
    (tmp_path / "sys/class/nvme/nvme0").mkdir(parents=True)
    boards.write(tmp_path / "sys/class/rtc/rtc0/since_epoch", 1_790_000_000)
    boards.write(tmp_path / "sys/class/rtc/rtc1/since_epoch", 1_790_000_000)
    boards.write(tmp_path / "sys/class/rtc/rtc1/hctosys", 1)
    (tmp_path / "run/lineside").mkdir(parents=True)
    return Machine(Config(), tmp_path, 1_790_000_000.0)


def leave(machine, nvme=SOUND, clocks=None, up_s=9940.5, v=1):
    write_measured(machine.root / measured.FILE, Measured(v, up_s, {"nvme0": nvme}, clocks or {}))


def drive(machine):
    (found,) = wear.look(machine)
    return found


def battery(machine):
    return next(found for found in clock.look(machine) if found.name == "clock.battery")


def log_page(**at):
    log = bytearray(512)
    for place, value in at.items():
        log[int(place[1:])] = value
    return bytes(log)


NEW = log_page()


def answering(log=NEW, flags=0, status=0):
    """The kernel's side, which looks at the command as the kernel does."""

    def ioctl(descriptor, request, buffer):
        os.fstat(descriptor)
        if request == measure.RTC_VL_READ:
            buffer[:] = struct.pack("=I", flags)
            return 0
        assert (request, len(buffer)) == (0xC0484E41, 72)
        opcode, namespace, address, size, numbers = struct.unpack("=B3xI16xQ4xII28x", buffer)
        assert (opcode, namespace, size, numbers) == (2, 0xFFFFFFFF, 512, 0x7F0002)
        ctypes.memmove(address, log, size)
        return status

    return ioctl


def test_drives_and_clocks_are_asked(machine):
    log = log_page(_0=4, _3=90, _4=10, _5=17, _48=2, _49=1, _160=5)
    found = measure.measure(machine, answering(log, flags=2))
    assert found.nvme == {"nvme0": Nvme("", 4, 17, 90, 10, 5, 258 * 512_000)}
    assert found.clocks == {"rtc0": Clock(flags=2), "rtc1": Clock(flags=2)}
    assert found.up_s == 10000.5


def test_counts_that_no_drive_has_are_bounded(machine):
    found = measure.measure(machine, answering(b"\xff" * 512)).nvme["nvme0"]
    assert (found.used_percent, found.media_errors) == (255, 1 << 48)


def test_one_that_refuses_says_why(machine):
    assert "0x2002" in measure.measure(machine, answering(status=0x2002)).nvme["nvme0"].error

    def failing(code):
        def ioctl(*_):
            raise OSError(code, os.strerror(code))

        return measure.measure(machine, ioctl)

    assert failing(errno.ENOTTY).clocks["rtc0"].error == "it does not tell"
    assert failing(errno.EACCES).nvme["nvme0"].error == "Permission denied"


def test_a_crowd_of_devices_is_bounded(machine):
    for number in range(40):
        boards.write(machine.root / f"dev/nvme{number}", "")
    assert len(measure.measure(machine, answering()).nvme) == measure.MAX_DEVICES


@pytest.mark.parametrize(
    ("smart", "state", "told"),
    [
        (SOUND, "ok", "3 % of its life is used, 100 % of its spare blocks are left, 0 media errors"),
        (Nvme(used_percent=79), "ok", "79 %"),
        (Nvme(used_percent=80), "warning", "80 %"),
        (Nvme(used_percent=101), "problem", "101 %"),
        (Nvme(media_errors=1), "warning", "1 media errors"),
        (Nvme(critical=2), "warning", "too hot or too cold;"),
        (Nvme(critical=5), "problem", "spare blocks run out, unreliable;"),
        (Nvme(critical=8), "problem", "read-only;"),
        (Nvme(critical=64), "warning", "warnings of another kind;"),
        (Nvme(error="it refuses"), "unknown", "it refuses"),
    ],
)
def test_a_drive_is_judged(machine, smart, state, told):
    leave(machine, smart)
    found = drive(machine)
    assert (found.name, found.state) == ("wear.nvme0", state)
    assert told in found.seen
    assert found.seen.endswith("(measured 1 min ago)")
    assert bool(found.todo) == (state != "ok")


def test_a_hot_drive_is_to_be_cooled_and_not_replaced(machine):
    leave(machine, Nvme(critical=2))
    assert drive(machine).todo == wear.COOL
    for worse in (Nvme(critical=3), Nvme(critical=2, used_percent=90), Nvme(critical=2, media_errors=1)):
        leave(machine, worse)
        assert drive(machine).todo == wear.REPLACE_DRIVE


def test_a_drives_values_are_published(machine):
    leave(machine)
    assert drive(machine).values == {
        "nvme0_used_percent": 3,
        "nvme0_spare_percent": 100,
        "nvme0_media_errors": 0,
        "nvme0_written_bytes": 7,
    }


@pytest.mark.parametrize(
    ("clocks", "state", "told"),
    [
        ({"rtc0": Clock(flags=2), "rtc1": Clock()}, "ok", "its voltage is enough"),
        ({"rtc1": Clock(flags=1)}, "warning", "its voltage was too low"),
        ({"rtc1": Clock(flags=4)}, "warning", "too low"),
        ({"rtc1": Clock(flags=16)}, "ok", "enough"),
        ({"rtc1": Clock(error="it does not tell")}, "unknown", "rtc1: it does not tell"),
        ({"rtc0": Clock()}, "unknown", "it was not there"),
    ],
)
def test_the_battery_of_the_clock_that_is_booted_from(machine, clocks, state, told):
    leave(machine, clocks=clocks)
    found = battery(machine)
    assert found.state == state
    assert told in found.seen
    assert ("clock_battery" in found.values) == (state != "unknown")


def test_what_is_missing_old_or_garbage_is_unknown_with_the_command(machine):
    for found in (drive(machine), battery(machine)):
        assert (found.state, found.todo) == ("unknown", measured.MEASURE)
        assert "only root may ask" in found.seen
    for bad in ({"up_s": 10001.0}, {"up_s": 10000.5 - measured.STALE_S - 1}, {"v": 2}):
        leave(machine, **bad)
        assert "of another boot or release" in drive(machine).seen
    leave(machine, up_s=10000.5 - measured.STALE_S)
    assert drive(machine).state == "ok"
    for text in ("", "[]", '{"v":1', '{"v":1,"up_s":1,"nvme":{"nvme0":{"critical":-1}}}', "[" * 60_000):
        boards.write(machine.root / measured.FILE, text)
        assert "holds something else" in read_measured(machine)


def test_a_drive_that_came_after(machine):
    leave(machine)
    (machine.root / "sys/class/nvme/nvme1").mkdir()
    assert [found.state for found in wear.look(machine)] == ["ok", "unknown"]


def test_the_file_is_there_whole_or_not(machine, monkeypatch):
    path = machine.root / measured.FILE
    leave(machine)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fchmod", full)
        with pytest.raises(LinesideError, match="No space left"):
            leave(machine, up_s=1.0)
    assert path.read_bytes() == before
    os.mkfifo(machine.root / "fifo")
    with pytest.raises(LinesideError, match="is no plain file"):
        write_measured(machine.root / "fifo", Measured(1, 0.0))
    assert (machine.root / "fifo").is_fifo()
    (machine.root / "elsewhere").write_text("kept")
    scratch = path.with_name("wear.json.new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(machine.root / "elsewhere")
    leave(machine, up_s=2.0)
    assert (machine.root / "elsewhere").read_text() == "kept"
    with pytest.raises(LinesideError, match="No such file"):
        write_measured(machine.root / "none/wear.json", Measured(1, 0.0))


def test_this_machine_is_asked(tmp_path, capsys):
    """Whatever it has; where it has none the file says so."""
    out = tmp_path / "wear.json"
    assert main(["wear", "--out", str(out)]) == 0
    assert main(["wear"]) == 0
    told = json.loads(capsys.readouterr().out)
    left = json.loads(out.read_bytes())
    assert left["up_s"] <= told["up_s"]
    assert {key: left[key] for key in ("v", "nvme", "clocks")} == {
        key: told[key] for key in ("v", "nvme", "clocks")
    }
    assert main(["wear", "--out", str(tmp_path / "none/wear.json")]) == 1
