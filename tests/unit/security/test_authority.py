"""Certificates: whose, for how long, kept how; and what is refused."""

import datetime
import os
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lineside.errors import LinesideError
from lineside.security import authority
from lineside.security.authority import (
    create_authority,
    issue_client,
    issue_server,
    load_certificate,
    renew,
)
from lineside.security.files import CertificateFiles, read_pem
from lineside.security.listing import certificates, listed
from lineside.security.pair import check_life, check_pair
from lineside.security.revocation import create_list


@pytest.fixture
def files(tmp_path):
    made = CertificateFiles(tmp_path / "certs")
    create_authority(made)
    create_list(made)
    issue_server(made, ["192.168.10.5", "press.plant"])
    return made


def test_keys_are_their_owners_alone(files):
    issue_client(files, "L1/CD-07")
    keys = list(files.directory.rglob("*.key"))
    assert len(keys) == 3
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert list(files.directory.rglob("*.new")) == []


def test_the_server_is_known_by_its_names_and_this_machines(files):
    names = load_certificate(files.server).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["press.plant", "localhost"]
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == [
        "192.168.10.5",
        "127.0.0.1",
        "::1",
    ]


def test_an_old_clock_believes_them_and_a_year_offline_is_no_trouble(files):
    for entry in certificates(files):
        assert entry.days_left > 2 * 365
        begin = load_certificate(entry.file).not_valid_before_utc
        assert begin <= datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


def test_a_wrong_clock_makes_none(files, monkeypatch):
    monkeypatch.setattr(authority, "now", lambda: authority.BEGIN)
    with pytest.raises(LinesideError, match="set this machine's clock"):
        issue_client(files, "anna")


def test_nothing_is_overwritten_unasked(files):
    issue_client(files, "anna")
    with pytest.raises(LinesideError, match="--replace"):
        issue_client(files, "anna")
    with pytest.raises(LinesideError, match="--replace"):
        issue_server(files, ["a"])
    with pytest.raises(LinesideError, match="authority already"):
        create_authority(files)
    before = read_pem(files.client("anna")[1])
    issue_client(files, "anna", replace=True)
    assert read_pem(files.client("anna")[1]) != before


def test_a_renewal_keeps_the_key_and_what_it_is_for(files):
    before, key = load_certificate(files.server), read_pem(files.server_key)
    renew(files, "lineside")
    after = load_certificate(files.server)
    assert after.serial_number != before.serial_number
    assert read_pem(files.server_key) == key
    kind = x509.SubjectAlternativeName
    assert after.extensions.get_extension_for_class(kind) == before.extensions.get_extension_for_class(kind)
    check_pair(files.server, files.server_key, files.ca)


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "输" * 22, "a+b", "a%41", "a/#", " a", "a\nb", "a\udc80", "lineside"]
)
def test_names_that_no_topic_could_hold_are_refused(files, name):
    with pytest.raises(LinesideError, match="no name for a client"):
        issue_client(files, name)


def test_the_longest_names_have_files(files):
    for name in ("a" * 64, "输" * 21, "é" * 32):
        certificate, key = issue_client(files, name)
        assert key.exists()
        assert listed(certificate).name == name
        renew(files, name)


@pytest.mark.parametrize("name", ["carl", "输" * 64])
def test_a_renewal_of_nobodys_certificate_names_who_is_missing(files, name):
    with pytest.raises(LinesideError, match=rf"no certificate for '{name}'.*\n.*lineside certs list"):
        renew(files, name)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a"] * 65,
        ["bücher.example"],
        [""],
        ["a b"],
        ["10.0.0.5:50051"],
        ["http://a"],
        ["a" * 254],
        ["a" * 64],
    ],
)
def test_names_of_a_server_have_bounds(files, names):
    with pytest.raises(LinesideError, match=r"names|neither a host's name nor an address"):
        issue_server(files, names, replace=True)


def test_what_cannot_be_used_is_named(files, tmp_path, monkeypatch):
    with pytest.raises(LinesideError, match=r"missing\.pem.*\n.*lineside certs init"):
        read_pem(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(LinesideError, match="no PEM"):
        read_pem(tmp_path / "empty.pem")
    with pytest.raises(LinesideError, match="holds no certificate"):
        load_certificate(files.server_key)
    with pytest.raises(LinesideError, match=r"ca\.key is not the key of .*server\.pem"):
        check_pair(files.server, files.ca_key, files.ca)
    with pytest.raises(LinesideError, match="holds no certificate"):
        check_pair(files.server, files.server_key, files.server_key)
    monkeypatch.setattr(authority, "LIFE", datetime.timedelta(days=-1))
    renew(files, "lineside")
    with pytest.raises(LinesideError, match=r"server\.pem has expired.*\n.*certs renew lineside"):
        check_life(files.server)


def test_what_never_ends_or_waits_is_no_certificate(tmp_path):
    (tmp_path / "zero.pem").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.pem")
    for name in ("zero.pem", "pipe.pem"):
        with pytest.raises(LinesideError, match=f"{name}: is no plain file"):
            read_pem(tmp_path / name)


def test_a_renewal_of_what_is_not_ours_says_what_to_do(files):
    certificate, key = issue_client(files, "anna")
    public = authority.load_key(key).public_key()
    name = authority.common_name("anna")
    other = authority.builder(name, name, public, authority.LIFE).sign(
        authority.load_key(files.ca_key), hashes.SHA256()
    )
    certificate.write_bytes(authority.pem_of(other))
    with pytest.raises(LinesideError, match=r"anna\.pem is no certificate of ours(.|\n)*--replace"):
        renew(files, "anna")


def test_an_authority_whose_key_is_anothers_signs_nothing(files, tmp_path):
    other = CertificateFiles(tmp_path / "other")
    create_authority(other)
    shutil.copy(other.ca_key, files.ca_key)
    with pytest.raises(LinesideError, match=r"ca\.key is not the key of .*ca\.pem"):
        issue_client(files, "anna")


@pytest.mark.parametrize("other", ["L1/CD-07/x", "L1"])
def test_a_device_right_above_or_below_another_is_refused(files, other):
    authority.issue_client(files, "L1/CD-07")
    with pytest.raises(LinesideError, match="would read"):
        authority.issue_client(files, other)
    authority.issue_client(files, "L1/CD-08")
    authority.issue_client(files, "L2")
    authority.issue_client(files, "L1/CD-07", replace=True)
