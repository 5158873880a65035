"""What is taken back stays so, whatever is put in the list's place."""

import datetime
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from lineside.errors import LinesideError, Reason, RejectedError
from lineside.security import authority, revocation, revoked
from lineside.security.authority import create_authority, issue_client, issue_server, load_certificate, renew
from lineside.security.files import CertificateFiles
from lineside.security.revocation import create_list, revoke
from lineside.security.revoked import RevocationList, load_list, number_of, read_revoked


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    made = CertificateFiles(tmp_path / "certs")
    create_authority(made)
    create_list(made)
    issue_server(made, ["press.plant"])
    for name in ("anna", "ben"):
        issue_client(made, name)
    return made


def refused(live: RevocationList, pem: bytes) -> bool:
    try:
        live.check(pem)
    except RejectedError as error:
        assert error.reason is Reason.UNAUTHENTICATED
        return True
    return False


def test_every_certificate_of_that_name_is_taken_back_and_no_other(files):
    first = files.client("anna")[0].read_bytes()
    renew(files, "anna")
    second = files.client("anna")[0].read_bytes()
    issue_client(files, "anna", replace=True)
    third, ben = files.client("anna")[0].read_bytes(), files.client("ben")[0].read_bytes()
    live = RevocationList(files)
    assert not any(refused(live, pem) for pem in (first, second, third, ben))
    assert revoke(files, "anna") == 3
    assert [refused(live, pem) for pem in (first, second, third, ben)] == [True, True, True, False]
    assert not any(path.exists() for path in files.client("anna"))
    issue_client(files, "anna")
    assert not refused(live, files.client("anna")[0].read_bytes()), "a new one under the old name"
    revoke(files, "ben")
    assert refused(live, first), "the next list has those of the one before"
    assert revoke(files, "anna") == 4


def test_one_of_before_the_records_is_taken_back_too(files):
    shutil.rmtree(files.issued)
    pem = files.client("anna")[0].read_bytes()
    assert revoke(files, "anna") == 1
    assert refused(RevocationList(files), pem)


def test_where_the_list_is_lost_nothing_starts_and_nobody_adds_to_it(files):
    """Else whoever has a revoked key would come back by it."""
    revoke(files, "ben")
    kept = files.revoked.read_bytes()
    files.revoked.unlink()
    for ask in (lambda: RevocationList(files), lambda: revoke(files, "anna")):
        with pytest.raises(LinesideError, match=r"crl.pem is not there: nobody knows") as lost:
            ask()
        assert "put it back from a copy" in lost.value.hint
        assert "lineside certs init --list" in lost.value.hint
    assert not files.revoked.exists()
    files.revoked.write_bytes(kept)
    with pytest.raises(LinesideError, match="there is a list already"):
        create_list(files)
    assert files.revoked.read_bytes() == kept


def test_an_empty_list_lets_everybody_in_but_who_shows_nothing(files):
    pem = files.client("anna")[0].read_bytes()
    files.revoked.unlink()
    create_list(files)
    live = RevocationList(files)
    assert not refused(live, pem)
    assert refused(live, b""), "who shows none"
    revoke(files, "anna")
    assert refused(live, pem)


def test_a_list_is_in_force_for_old_clocks_and_until_the_authority_ends(files):
    revoke(files, "anna")
    written = load_list(files)
    assert number_of(written) == 2
    assert written.last_update_utc == authority.BEGIN + datetime.timedelta(seconds=2)
    assert written.next_update_utc == load_certificate(files.ca).not_valid_after_utc


def test_the_daemon_and_whom_nobody_knows_are_not_revoked(files):
    with pytest.raises(LinesideError, match="clients read no list"):
        revoke(files, "lineside")
    with pytest.raises(LinesideError, match="no certificate for 'carl'"):
        revoke(files, "carl")
    with pytest.raises(LinesideError, match="certs init"):
        revoke(CertificateFiles(files.directory / "none"), "anna")


def test_a_list_that_cannot_be_used_is_refused_at_start_and_changes_nothing_later(files, tmp_path, caplog):
    pem = files.client("anna")[0].read_bytes()
    earlier = files.revoked.read_bytes()
    revoke(files, "anna")
    live, good = RevocationList(files), files.revoked.read_bytes()
    other = CertificateFiles(tmp_path / "other")
    create_authority(other)
    create_list(other)
    for content, message in (
        (other.revoked.read_bytes(), "not of the authority"),
        (files.ca.read_bytes(), "holds no revocation list"),
        (b"junk", "holds no PEM"),
        (b"-----BEGIN" + b"x" * revoked.MAX_LIST_BYTES, f"has more than {revoked.MAX_LIST_BYTES} bytes"),
    ):
        files.revoked.write_bytes(content)
        with pytest.raises(LinesideError, match=message):
            RevocationList(files)
        with pytest.raises(LinesideError, match=message):
            revoke(files, "ben")
        assert refused(live, pem)
        assert message in caplog.text
    files.revoked.write_bytes(earlier)
    assert refused(live, pem)
    assert "older" in caplog.text
    files.revoked.unlink()
    assert refused(live, pem)
    assert "is not there" in caplog.text
    files.revoked.write_bytes(good)
    assert refused(live, pem)


def test_a_list_has_a_bound_within_what_is_read(files, monkeypatch):
    many = [
        x509.RevokedCertificateBuilder().serial_number(2**159 - n - 1) for n in range(revoked.MAX_REVOKED)
    ]
    entries = [each.revocation_date(authority.now()).build() for each in many]
    revocation._write(files, 5, entries)
    assert len(read_revoked(files).serials) == revoked.MAX_REVOKED
    with pytest.raises(LinesideError, match="a list holds 10000 at most"):
        revoke(files, "anna")
    assert files.client("anna")[0].exists()


def _revoke_in_a_process(directory: Path, name: str) -> None:
    revoke(CertificateFiles(directory), name)


def test_two_at_once_lose_nothing(files):
    names = [f"d{n}" for n in range(6)]
    for name in names:
        issue_client(files, name)
    serials = {load_certificate(files.client(name)[0]).serial_number for name in names}
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_revoke_in_a_process, args=(files.directory, name)) for name in names]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert read_revoked(files).serials == serials
    assert number_of(load_list(files)) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_list_that_may_not_be_read_is_named(files):
    files.revoked.chmod(0)
    with pytest.raises(LinesideError, match="Permission denied"):
        RevocationList(files)
