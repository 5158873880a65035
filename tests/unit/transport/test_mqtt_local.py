"""Who is the daemon on loopback: what Mosquitto is given, and what cannot stand there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lineside.errors import LinesideError
from lineside.transport.mqtt.local import Login, hashed, new_login, prepare_local


def test_the_password_is_not_written_and_the_files_are_closed(tmp_path: Path):
    login = new_login()
    assert new_login().password != login.password
    lines = prepare_local(login, tmp_path, None)
    assert "acl_file local/acl" in lines
    users = tmp_path / "local/users"
    assert users.read_text().startswith("lineside:$7$1000$")
    assert login.password not in users.read_text()
    assert hashed("a") != hashed("a"), "salted"
    for path in (users, tmp_path / "local/acl"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("user", ["a:b", "a\ntopic readwrite #", " a", "#a"])
def test_a_user_that_cannot_stand_in_a_list_is_named(tmp_path: Path, user: str):
    with pytest.raises(LinesideError, match=r"\[mqtt\] user"):
        prepare_local(Login(user, "x"), tmp_path, None)


def test_an_empty_password_is_named(tmp_path: Path):
    with pytest.raises(LinesideError, match=r"\[mqtt\] password_file(.|\n)*--password-file"):
        prepare_local(Login("lineside", ""), tmp_path, None)
