import pytest

from lineside.diagnosis.knowledge.codes import EXACT, code_keys


def exact(code):
    return {key for key, rank in code_keys(code) if rank == EXACT}


def keys(code):
    return {key for key, _ in code_keys(code)}


@pytest.mark.parametrize(
    "spellings",
    [
        ("0x10032", "0X010032", "0x0010032", "０ｘ１００３２", "16#10032", "10032h"),
        ("E-32", "e 032", "E32", "e_32", "Ｅ３２", " E.32 "),
        ("F012", "f-012", "Ｆ０１２", "F 12"),
        ("A0.3", "a0.3", "A 0.3"),
        ("AL.52", "al 52", "AL-052"),
        ("SRVO-001", "srvo 1"),
        ("14", " 14 ", "014", "１４"),
        ("7015-2", "7015.2"),
    ],
)
def test_spellings_of_one_code_meet(spellings):
    assert len({frozenset(exact(spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("E32", "E-33"),
        ("A0.3", "A03"),
        ("A0.3", "A0.03"),
        ("E-32A", "E-32"),
        ("0x10032", "10032"),
        ("10", "0x10"),
        ("AL.5", "AL.52"),
        ("7015-2", "70152"),
    ],
)
def test_different_codes_stay_apart(one, other):
    assert not exact(one) & exact(other)


def test_bare_digits_are_never_hexadecimal():
    assert keys("10032") == {"10032"}


def test_a_marked_hexadecimal_is_known_by_its_value_too_and_less_surely():
    assert dict(code_keys("0x10")) == {"0X10": 0, "16": 2}


@pytest.mark.parametrize(
    "code", ["Error 32", "ALM0032", "Err 32", "报警号 32", "故障代码：32", "Alarm code 32"]
)
def test_words_around_a_number_are_no_part_of_it(code):
    assert dict(code_keys(code))["32"] == 1


def test_a_word_before_a_letter_code_leaves_the_code():
    assert dict(code_keys("故障码：F012"))["F12"] == 1


def test_the_nearest_reading_comes_first():
    ranks = [rank for _, rank in code_keys("故障码：F012")]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("code", ["", "  ", "--", "#", "：", "\u3000"])
def test_what_holds_no_sign_is_no_code(code):
    assert code_keys(code) == ()


def test_letters_that_only_look_hexadecimal_stay_what_they_are():
    assert exact("FF40") == {"FF40"}
    assert "0XFF40" in keys("FF40")
    assert not any(key.startswith("0X") for key in keys("E32") | keys("F012"))


@pytest.mark.parametrize("code", ["0X", "0x", "0XG", "0xZ1", "X0"])
def test_what_only_begins_like_a_hexadecimal_number_is_a_code_all_the_same(code):
    assert code_keys(code)
    assert {key for key, _ in code_keys(code)} & {key for key, _ in code_keys(code.lower())}


@pytest.mark.parametrize(
    ("code", "base", "expected"),
    [
        ("32", "", ["32"]),
        ("32", "dec", ["32"]),
        ("32", "hex", ["0X32", "50", "32"]),
        ("032", "any", ["32", "0X32", "50"]),
        ("E-32", "hex", ["E32", "0X32", "50", "32"]),
        ("A0.3", "hex", ["A0.3", "0.3"]),
    ],
)
def test_bare_digits_are_hexadecimal_only_where_the_device_says_so(code, base, expected):
    assert [found.key for found in code_keys(code, base)] == expected
