import codecs

import pytest

from lineside.errors import RejectedError
from lineside.gateways.decode import plain, to_document, to_text
from lineside.gateways.pointer import MISSING, parse_pointer, resolve


@pytest.mark.parametrize(
    "payload",
    [
        "电机 °".encode(),
        codecs.BOM_UTF8 + "电机 °".encode(),
        "电机 °".encode("gb18030"),
        "电机 °".encode() + b"\0\0",
    ],
)
def test_utf8_with_or_without_its_mark_then_gb18030_and_no_padding(payload):
    assert to_text(payload) == "电机 °"


def test_what_is_neither_is_refused():
    with pytest.raises(RejectedError, match="neither UTF-8 nor GB18030"):
        to_text(b"\xff\xff")


@pytest.mark.parametrize("text", ["", "{", "[1,", "NaN", '"\\ud800"', "1e999", "[" * 100_000, "1" * 5000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(RejectedError, match="not usable JSON"):
        to_document(text)


def test_a_controllers_string_ends_at_its_first_nul():
    assert plain(" F012\0\0junk") == "F012"


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a": [10, {"b/c": 1, "~": 2}], "": 3}),
        ("/a/0", 10),
        ("/a/1/b~1c", 1),
        ("/a/1/~0", 2),
        ("/", 3),
        ("/a/2", MISSING),
        ("/a/-1", MISSING),
        ("/a/²", MISSING),
        ("/a/99999999999999999999", MISSING),
        ("/a/0/x", MISSING),
        ("/b", MISSING),
    ],
)
def test_pointers_lead_to_what_is_there(pointer, found):
    document = {"a": [10, {"b/c": 1, "~": 2}], "": 3}
    assert resolve(document, parse_pointer(pointer)) == found


@pytest.mark.parametrize("text", ["a", "a/b", "/~", "/a~2", "#/a"])
def test_what_is_no_pointer_is_refused(text):
    with pytest.raises(ValueError, match="JSON pointer"):
        parse_pointer(text)
