"""TOML within bounds: what is read, and what is said of what is not."""

import time

import pytest

from lineside.toml_file import MAX_BYTES, MAX_DEPTH, TomlError, parse_toml, read_toml

DEEP = f"nested deeper than {MAX_DEPTH} levels"
DOTS = ".".join(["a"] * MAX_DEPTH)


def test_what_is_toml_is_read(tmp_path):
    path = tmp_path / "file.toml"
    path.write_text('# 注\n[a.b]\nc = ["x.y.z", 1, { d = "一" }]\n', "utf-8")
    assert read_toml(path) == {"a": {"b": {"c": ["x.y.z", 1, {"d": "一"}]}}}


@pytest.mark.parametrize(
    "content",
    [
        f"{DOTS} = 1",
        f"[{DOTS}]",
        f"a = {'[' * (MAX_DEPTH - 1)}1{']' * (MAX_DEPTH - 1)}",
        f'a = "{DOTS}.{DOTS}"',
    ],
)
def test_down_to_the_bound_it_is_read(content):
    assert parse_toml(content.encode())


@pytest.mark.parametrize(
    "content",
    [
        f"{DOTS}.a = 1",
        f"[{DOTS}.a]",
        f"[[{DOTS}.a]]",
        f"x = {{ {DOTS}.a = 1 }}",
        f"a = {'[' * MAX_DEPTH}1{']' * MAX_DEPTH}",
        f"a = {'[' * 5000}",
        f"a = {'{ a = ' * 5000}",
        "a." * 200_000 + "a = 1",
        '"a" . ' * 100_000 + "a = 1",
    ],
    ids=[
        "keys",
        "table",
        "tables",
        "inline",
        "arrays",
        "5000 arrays",
        "5000 tables",
        "200000 keys",
        "quoted",
    ],
)
def test_deeper_it_is_refused_at_once(content):
    begun_s = time.process_time()
    with pytest.raises(TomlError, match=DEEP):
        parse_toml(content.encode())
    assert time.process_time() - begun_s < 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[a]\nb = "x\\u0000y"', "'a.b' has a NUL character"),
        (b'a = ["", { b = "\\u0000" }]', r"'a\[1\].b' has a NUL character"),
        (b'"x\\u0000" = 1', "has a NUL character"),
        (b'a = "x\0y"', r"line 1"),
        (b'a = "\xff"', "utf-8"),
        (b"a = " + b"9" * 5000, "digits"),
        (b"a = \n", "line 1"),
    ],
)
def test_what_cannot_be_used_says_where(content, message):
    with pytest.raises(TomlError, match=message):
        parse_toml(content)


def test_a_file_has_a_bound(tmp_path):
    path = tmp_path / "file.toml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert read_toml(path) == {}
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(OSError, match=f"has more than {MAX_BYTES} bytes"):
        read_toml(path)
