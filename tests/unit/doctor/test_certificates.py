"""Real certificates, sound and broken: what is told of each, and what to do."""

import datetime
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lineside.config import Config, MqttConfig
from lineside.doctor import certificates
from lineside.doctor.examine import Check, examine
from lineside.doctor.machine import Machine

NOW = datetime.datetime(2026, 9, 21, tzinfo=datetime.timezone.utc)
PLAIN = serialization.NoEncryption()


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Party:
    """A key and a certificate, `issuer`'s or its own, that ends in `days`."""

    def __init__(self, text, issuer=None, days=400, ca=False, begin=-10):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = name(text)
        by = issuer or self
        self.certificate = (
            x509.CertificateBuilder(by.subject, self.subject, self.key.public_key(), 7)
            .not_valid_before(NOW + datetime.timedelta(days=begin))
            .not_valid_after(NOW + datetime.timedelta(days=days, hours=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .sign(by.key, hashes.SHA256())
        )

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, encryption=PLAIN):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )


ROOT = Party("plant", ca=True, days=3000)
LEAF = Party("lineside", ROOT)


@pytest.fixture
def files(tmp_path):
    """A sound set, to break."""
    made = {kind: tmp_path / kind for kind in ("ca", "cert", "key")}
    made["ca"].write_bytes(ROOT.pem)
    made["cert"].write_bytes(LEAF.pem)
    made["key"].write_bytes(LEAF.key_pem())
    return made


def look(files, **more):
    config = MqttConfig(
        **(
            {"ca_file": str(files["ca"]), "cert_file": str(files["cert"]), "key_file": str(files["key"])}
            | more
        )
    )
    found = certificates.look(Machine(Config(mqtt=config), now_s=NOW.timestamp()))
    return {each.name.removeprefix("certificates."): each for each in found}


def states(files, **more):
    return {key: each.state for key, each in look(files, **more).items()}


def test_a_sound_set_and_its_days(files):
    found = look(files)
    assert {each.state for each in found.values()} == {"ok"}
    assert set(found) == {"mqtt_ca", "mqtt_certificate", "mqtt_key", "mqtt_chain", "next"}
    assert found["mqtt_ca"].values == {"mqtt_ca_days_left": 3000}
    assert found["next"].values == {"certificate_days_left": 400}


def test_nothing_named_is_nothing_wrong(files):
    none = {"ca_file": "", "cert_file": "", "key_file": ""}
    assert states(files, **none) == {"next": "not_applicable"}
    assert states(files, broker="off") == {"next": "not_applicable"}
    assert set(states(files, cert_file="", key_file="")) == {"mqtt_ca", "next"}


@pytest.mark.parametrize(("days", "state"), [(30, "ok"), (29, "warning"), (0, "warning"), (-1, "problem")])
def test_the_end_is_seen_coming(files, days, state):
    files["cert"].write_bytes(Party("lineside", ROOT, days).pem)
    found = look(files)
    assert found["mqtt_certificate"].state == state
    assert found["next"].values == {"certificate_days_left": days}
    assert bool(found["mqtt_certificate"].todo) == (state != "ok")


def test_one_that_begins_tomorrow(files):
    files["cert"].write_bytes(Party("lineside", ROOT, begin=1).pem)
    assert look(files)["mqtt_certificate"].todo == "set this machine's clock, if it is behind"


def test_of_two_authorities_the_longer_lived_counts_and_of_a_chain_the_shorter(files):
    old = Party("old", ca=True, days=-5)
    files["ca"].write_bytes(old.pem + ROOT.pem)
    between = Party("between", ROOT, days=9, ca=True)
    leaf = Party("lineside", between)
    files["cert"].write_bytes(leaf.pem + between.pem)
    files["key"].write_bytes(leaf.key_pem())
    assert states(files) == {
        "mqtt_ca": "ok",
        "mqtt_certificate": "warning",
        "mqtt_key": "ok",
        "mqtt_chain": "ok",
        "next": "ok",
    }
    files["cert"].write_bytes(leaf.pem)
    assert states(files)["mqtt_chain"] == "note", "what is between is missing"


def test_another_authority_of_the_same_name(files, monkeypatch):
    files["ca"].write_bytes(Party("plant", ca=True).pem)
    assert states(files)["mqtt_chain"] == "note"
    files["ca"].write_bytes(ROOT.pem)
    not_ca = Party("someone", ROOT)
    leaf = Party("lineside", not_ca)
    files["cert"].write_bytes(leaf.pem + not_ca.pem)
    assert states(files)["mqtt_chain"] == "note", "a certificate that is no authority's issues nothing"


def test_where_both_sides_have_one_authority_a_stranger_is_a_problem(files):
    files["ca"].write_bytes(Party("plant", ca=True).pem)
    own = certificates.Identity("own", files["cert"], files["key"], files["ca"], "make it anew", True)
    found = {each.name: each for each in certificates.look_at(own, NOW.timestamp())}
    assert (found["certificates.own_chain"].state, found["certificates.own_chain"].todo) == (
        "problem",
        "make it anew",
    )


def test_a_circle_of_certificates_ends(files):
    one, other = Party("one", ca=True), Party("other", ca=True)
    first, second = Party("one", other, ca=True), Party("other", one, ca=True)
    first.certificate, second.certificate = again(first, other, one), again(second, one, other)
    files["cert"].write_bytes(first.pem + second.pem + first.pem)
    files["key"].write_bytes(first.key_pem())
    assert states(files)["mqtt_chain"] == "note"


def again(party, issuer, own):
    builder = x509.CertificateBuilder(issuer.subject, own.subject, own.key.public_key(), 9)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=99))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(issuer.key, hashes.SHA256())


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [
        ("key", LEAF.key_pem(serialization.BestAvailableEncryption(b"x")), "has a passphrase"),
        ("key", Party("other").key_pem(), "is not the key of"),
        ("key", LEAF.pem, "holds no key that"),
        ("key", b"", "holds no key that"),
        ("certificate", b"", "holds no certificate"),
        ("certificate", os.urandom(5000), "holds no certificate"),
        ("certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
        ("certificate", LEAF.key_pem(), "holds no certificate"),
        ("ca", LEAF.pem[:-100], "holds no certificate"),
        ("ca", b"x" * (certificates.MAX_PEM_BYTES + 1), "too large"),
    ],
)
def test_garbage_is_a_problem_with_what_to_do(files, kind, content, told):
    files[kind.replace("certificate", "cert")].write_bytes(content)
    found = look(files)[f"mqtt_{kind}"]
    assert found.state == "problem"
    assert told in found.seen
    assert found.todo


def test_what_is_missing_hangs_or_is_closed(files, monkeypatch):
    files["cert"].unlink()
    assert "is not there" in look(files)["mqtt_certificate"].seen
    files["key"].unlink()
    os.mkfifo(files["key"])
    files["cert"].write_bytes(LEAF.pem)
    assert "is no plain file" in look(files)["mqtt_key"].seen
    files["ca"].unlink()
    files["ca"].mkdir()
    assert "Is a directory" in look(files)["mqtt_ca"].seen

    def closed(*_):
        raise PermissionError

    monkeypatch.setattr(certificates, "read_bytes", closed)
    assert states(files) == {"mqtt_ca": "unknown", "mqtt_certificate": "unknown", "next": "not_applicable"}


def test_one_file_may_hold_both(files):
    files["cert"].write_bytes(LEAF.pem + LEAF.key_pem())
    assert states(files, key_file="")["mqtt_key"] == "ok"


def test_mutated_files_break_nothing(files):
    sound = bytearray(LEAF.pem)
    for place in range(30, len(sound) - 30, 3):
        broken = sound.copy()
        broken[place] = broken[place] ^ 1
        files["cert"].write_bytes(broken)
        check = Check("certificates", lambda _: iter(look(files).values()))
        assert [each for each in examine([check], Machine(Config())) if each.name == "certificates"] == []
