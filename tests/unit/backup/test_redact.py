"""What is taken out, and what stays readable."""

import pytest

from lineside.backup.redact import MAX_SECRET_BYTES, Redactor, secrets_of

SETTINGS = {
    "state_dir": "/var/lib/lineside",
    "mqtt": {"host": "broker.plant", "port": 8883, "user": "lineside", "password_file": "", "key_file": "/k"},
    "grpc": {"host": "127.0.0.1", "max_message_bytes": 5},
    "security": {"api_tokens": ["abc"], "require_token": True},
    "power": {"operators": ["shift"], "schedule": [{"name": "night"}]},
}


def test_settings():
    shown = Redactor().settings(SETTINGS)
    assert shown == {
        "state_dir": "/var/lib/lineside",
        "mqtt": {
            "host": "(host)",
            "port": 8883,
            "user": "(set)",
            "password_file": "(not set)",
            "key_file": "(set)",
        },
        "grpc": {"host": "127.0.0.1", "max_message_bytes": 5},
        "security": {"api_tokens": "(set)", "require_token": True},
        "power": {"operators": "(set)", "schedule": [{"name": "night"}]},
    }
    assert Redactor(show_hosts=True).settings(SETTINGS)["mqtt"]["host"] == "broker.plant"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("login with hunter22 failed", "login with (secret) failed"),
        ("password=abc next", "password=(secret) next"),
        ("api-key: abc", "api-key: (secret)"),
        ("at mqtt://me:abc@there:1", "at mqtt://(secret)@there:1"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nafter", "(secret)\nafter"),
        ("-----BEGIN EC PRIVATE KEY-----\nabc, cut off", "(secret)"),
        ("from press-3.plant to press-33 via press-3", "from press-3.plant to press-33 via (host)"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_texts(text, left):
    assert (
        Redactor(secrets=("hunter22",), hosts=("press-3",))
        .text(text)
        .replace("(host).plant", "press-3.plant")
        == left
    )


def test_texts_within_values():
    found = Redactor(secrets=("hunter22",)).value({"a": ["x hunter22", 1, None], "b": ("hunter22",)})
    assert found == {"a": ["x (secret)", 1, None], "b": ["(secret)"]}


def test_secret_files(tmp_path):
    first, huge = tmp_path / "first", tmp_path / "huge"
    first.write_text("longer secret\nab\n\nother\n")
    huge.write_bytes(b"x" * (MAX_SECRET_BYTES + 5))
    assert secrets_of([first, tmp_path / "missing"]) == ("longer secret", "other")
    assert [len(secret) for secret in secrets_of([huge])] == [MAX_SECRET_BYTES]
