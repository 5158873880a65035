"""The list of certificates goes on over whatever lies among them."""

import os
from pathlib import Path

import pytest

from lineside.cli import main
from lineside.errors import LinesideError
from lineside.security.authority import create_authority, issue_client, issue_server
from lineside.security.files import CertificateFiles
from lineside.security.listing import certificates
from lineside.security.revocation import create_list, revoke


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    made = CertificateFiles(tmp_path / "state" / "certs")
    create_authority(made)
    create_list(made)
    issue_server(made, ["press.plant"])
    for name in ("anna", "L1/CD-07"):
        issue_client(made, name)
    return made


@pytest.fixture
def listing(files: CertificateFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Exit status, output and errors of the command."""
    config = tmp_path / "lineside.toml"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n')

    def run() -> tuple[int, str, str]:
        status = main(["certs", "list", "--config", str(config)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_each_is_named_with_its_days(listing):
    status, said, wrong = listing()
    assert (status, wrong) == (0, "")
    assert [line.split()[3] for line in said.splitlines()] == ["lineside", "L1/CD-07", "anna", "Lineside"]


def test_what_is_no_certificate_is_named_and_the_others_are_shown(files, listing):
    (files.clients / "junk.pem").write_bytes(b"junk")
    (files.clients / "key.pem").write_bytes(files.ca_key.read_bytes())
    (files.clients / "zero.pem").symlink_to("/dev/zero")
    (files.clients / "nowhere.pem").symlink_to("/nowhere")
    (files.clients / "folder.pem").mkdir()
    os.mkfifo(files.clients / "pipe.pem")
    status, said, wrong = listing()
    assert status == 1
    assert len(said.splitlines()) == 4
    assert {line.split("clients/")[1].split(".pem")[0] for line in wrong.splitlines()} == {
        "junk",
        "key",
        "zero",
        "nowhere",
        "folder",
        "pipe",
    }


def test_what_is_revoked_comes_last(files, listing):
    revoke(files, "anna")
    status, said, _ = listing()
    assert status == 0
    assert [line.split()[0] for line in said.splitlines()][-1] == "revoked"
    assert "anna" in said.splitlines()[-1]
    assert said.count("anna") == 1


@pytest.mark.parametrize("content", [None, b"junk"])
def test_a_list_that_is_lost_or_damaged_is_named_and_the_others_are_shown(files, listing, content):
    files.revoked.unlink()
    if content is not None:
        files.revoked.write_bytes(content)
    status, said, wrong = listing()
    assert status == 1
    assert len(said.splitlines()) == 4
    assert "crl.pem" in wrong


def test_a_directory_that_is_not_there_or_is_a_file_is_named(tmp_path):
    for directory in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(LinesideError, match=directory.name):
            certificates(CertificateFiles(directory))
