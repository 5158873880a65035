"""Users, owners and groups on fake roots; modes of real sockets."""

import os
import socket

import pytest
from tests.support import boards

from lineside.config import Config, PowerConfig
from lineside.doctor import permissions, users
from lineside.doctor.machine import Machine

PASSWD = "root:x:0:0::/root:/bin/sh\nlineside:x:{}:998::/:/x\nlineside-broker:x:997:997::/:/x\ngarbage\n"


@pytest.fixture
def machine(tmp_path):
    """With installed units and a state directory of this user's, who is the daemon's here."""
    root, state = tmp_path / "root", tmp_path / "state"
    state.mkdir()
    boards.write(root / "etc/systemd/system/lineside.service", "")
    boards.write(root / "etc/passwd", PASSWD.format(1234))
    os.chown(state, 1234, -1) if os.geteuid() == 0 else pytest.skip("giving files away needs root")
    return Machine(Config(state_dir=str(state)), root)


def states(machine):
    return {found.name.removeprefix("users."): found.state for found in users.look(machine)}


def test_as_it_should_be(machine, tmp_path):
    assert states(machine) == {"daemon": "ok", "broker": "ok", "files": "ok"}
    (machine.root / "etc/systemd/system/lineside.service").unlink()
    assert states(machine) == {"daemon": "not_applicable"}


def test_users_that_are_missing_or_root(machine):
    boards.write(machine.root / "etc/passwd", PASSWD.format(0).replace("lineside-broker", "other"))
    found = states(machine)
    assert (found["daemon"], found["broker"]) == ("problem", "problem")
    (machine.root / "etc/passwd").unlink()
    assert states(machine) == {"daemon": "problem", "broker": "problem"}


def test_what_root_has_left_in_the_state(machine, tmp_path):
    state = tmp_path / "state"
    (state / "installed-version").write_text("1")
    assert states(machine)["files"] == "ok"
    (state / "knowledge.db").write_text("")
    found = next(found for found in users.look(machine) if found.name == "users.files")
    assert (found.state, found.seen) == ("problem", "knowledge.db: not user lineside's")
    os.chown(state / "knowledge.db", 1234, -1)
    assert states(machine)["files"] == "ok"
    os.chown(state, 0, -1)
    assert states(machine)["files"] == "problem"


def test_a_jetsons_gpu_needs_groups(machine):
    boards.write(machine.root / "etc/nv_tegra_release", "# R36")
    assert states(machine)["groups"] == "problem", "there are none"
    boards.write(machine.root / "etc/group", "video:x:44:\nrender:x:105:someone\n")
    assert states(machine)["groups"] == "warning", "and the daemon is not in them"
    boards.write(machine.root / "etc/group", "video:x:44:lineside\nrender:x:105:a,lineside\n")
    assert states(machine)["groups"] == "ok"
    boards.write(machine.root / "etc/group", "video:x:44:\nrender:x:105:\n")
    boards.write(machine.root / "etc/systemd/system" / users.DROPIN, "")
    assert states(machine)["groups"] == "ok"


def test_sockets_have_the_modes_that_they_are_made_with(tmp_path):
    helper, state = tmp_path / "helper.sock", tmp_path / "state"
    state.mkdir()
    machine = Machine(Config(state_dir=str(state), power=PowerConfig(helper_socket=str(helper))))

    def found():
        looked = {each.name: each.state for each in permissions.look(machine)}
        return looked.get("permissions.power_helper"), looked.get("permissions.power_control")

    assert found() == (None, None)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(helper))
        second.bind(str(state / "power-control.sock"))
        helper.chmod(0o600)
        (state / "power-control.sock").chmod(0o666)
        assert found() == ("ok", "ok")
        helper.chmod(0o666)
        (state / "power-control.sock").chmod(0o600)
        assert found() == ("warning", "warning")
    helper.unlink()
    helper.write_text("")
    assert found()[0] == "problem"
