"""Whatever a check does, the examination ends with a finding of it."""

import json
import os
import threading

from lineside.cli import main
from lineside.cli_doctor import with_own_credentials
from lineside.config import Config, MqttConfig
from lineside.doctor.examine import Check, examine
from lineside.doctor.finding import MAX_SEEN, exit_status, finding, worst
from lineside.doctor.health import MAX_BYTES, health_document
from lineside.doctor.machine import MAX_FILE_BYTES, Machine
from lineside.errors import LinesideError


def look(*steps):
    def run(_machine):
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            else:
                yield step

    return run


GOOD = finding("a.good", "ok", "fine")
MACHINE = Machine(Config())


def test_one_that_breaks_is_unknown_and_the_others_go_on():
    checks = (
        Check("a", look(GOOD, ZeroDivisionError("bug"))),
        Check("b", look(PermissionError(13, "denied", "/x"))),
        Check("c", look(LinesideError("o", "m", "h"))),
        Check("d", look(GOOD)),
    )
    found = examine(checks, MACHINE)
    assert [(f.name, f.state) for f in found] == [
        ("a.good", "ok"),
        ("a", "unknown"),
        ("b", "unknown"),
        ("c", "unknown"),
        ("a.good", "ok"),
    ]
    assert found[1].seen == "ZeroDivisionError: bug"
    assert (found[2].todo, found[3].todo) == ("run it as root to see this", "h")


def test_one_that_hangs_is_unknown():
    hang = threading.Event()
    found = examine((Check("a", look(GOOD, hang.wait), 0.05), Check("b", look(GOOD))), MACHINE)
    hang.set()
    assert [f.state for f in found] == ["ok", "unknown", "ok"]
    assert "no answer within 0.05 s" in found[1].seen


def test_the_worst_counts_and_what_is_not_seen_does_not():
    names = ("ok", "note", "not_applicable", "unknown", "warning", "problem")
    found = [finding("x", state, "") for state in names]
    assert [exit_status(found[:end]) for end in (0, 4, 5, 6)] == [0, 0, 1, 2]
    assert worst(found[:4]) == "ok"


def test_a_finding_is_one_bounded_line():
    text = finding("x", "ok", "a\n\x1b[31mb" + "c" * 1000).seen
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) == MAX_SEEN


def test_files_of_any_kind_are_read_within_bounds(tmp_path):
    machine = Machine(Config(), tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    (tmp_path / "huge").write_bytes(b"x" * (MAX_FILE_BYTES + 10))
    assert machine.read("none") is None
    assert len(machine.read("huge")) == MAX_FILE_BYTES
    checks = [Check(name, look(lambda name=name: machine.read(name))) for name in ("fifo", "dir")]
    assert [f.state for f in examine(checks, machine)] == ["unknown", "unknown"]


def test_a_program_that_hangs_is_ended(tmp_path):
    path = tmp_path / "bin/slow"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    machine = Machine(Config(), tmp_path, run_s=0.1)
    found = examine([Check("a", look(lambda: machine.run("slow")))], machine)
    assert "no answer within 0.1 s" in found[0].seen
    assert machine.run("none") is None


def test_the_health_document_is_flat_and_bounded():
    many = [finding(f"x.{n}", "warning", "y" * 400) for n in range(500)]
    many.append(finding("z", "problem", "the worst", disk_free_bytes=7))
    document = health_document(many, "line-1", 0.0)
    assert len(document) <= MAX_BYTES
    told = json.loads(document)
    assert (told["health"], told["problems"], told["warnings"], told["disk_free_bytes"]) == (
        "problem",
        1,
        500,
        7,
    )
    assert told["wrong"][0] == "problem: z: the worst"
    assert told["checked_at"] == "1970-01-01T00:00:00Z"


def test_the_command_tells_people_and_programs(tmp_path, capsys):
    config = tmp_path / "c.toml"
    text = f'state_dir = "{tmp_path}/state"\n[grpc]\nport = 1\n[mqtt]\nbroker = "off"\n'
    config.write_text(f'{text}[power]\nroot = "{tmp_path}"\n')
    assert main(["doctor", "--json", "--config", str(config)]) == 2
    report = json.loads(capsys.readouterr().out)
    assert (report["v"], report["state"]) == (1, "problem")
    by_name = {each["name"]: each for each in report["findings"]}
    assert set(by_name["bundle.manifest"]) == {"name", "state", "seen", "todo", "values"}
    assert by_name["broker.answers"]["state"] == "not_applicable"
    assert main(["doctor", "--config", str(config)]) == 2
    told = capsys.readouterr().out
    assert "what to do: copy a bundle there" in told
    assert 'a daemon with [diagnosis] mode = "rules" needs none' in told
    os.mkfifo(tmp_path / "fifo")
    assert main(["doctor", "--config", str(tmp_path / "fifo")]) == 2
    assert "fifo is no plain file" in capsys.readouterr().out
    config.write_text("[nonsense]\n")
    assert main(["doctor", "--config", str(config)]) == 2
    assert "PROBLEM  configuration: " in capsys.readouterr().out


def test_credentials_are_those_of_the_own_unit():
    mqtt = MqttConfig(password_file="/run/credentials/lineside.service/mqtt-password", key_file="/etc/key")
    own = with_own_credentials(Config(mqtt=mqtt), "/run/credentials/lineside-doctor.service").mqtt
    assert own.password_file == "/run/credentials/lineside-doctor.service/mqtt-password"
    assert own.key_file == "/etc/key"
    assert with_own_credentials(Config(mqtt=mqtt), "").mqtt == mqtt
