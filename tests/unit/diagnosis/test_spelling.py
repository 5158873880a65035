import pytest

from lineside.diagnosis.knowledge import spelling
from lineside.diagnosis.knowledge.spelling import Spelling, alike
from lineside.diagnosis.knowledge.terms import words

MANUALS = "encoder position error motor overload incorrect input unlocked jump io move for the not"


@pytest.fixture
def known():
    return Spelling(dict.fromkeys(words(MANUALS), 1))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("encodr", "enc"),
        ("encdr", "enc"),
        ("ecnoder", "enc"),
        ("ncoder", "enc"),
        ("positoin", "pos"),
        ("ovrld", "overload"),
        ("incorect", "incorrect"),
    ],
)
def test_a_damaged_word_is_read_as_the_known_one(known, written, meant):
    assert next(iter(known.near(written))) == meant


@pytest.mark.parametrize(
    "word", ["enc", "mtr", "correct", "locked", "pump", "zz", "q7", "编码", "x" * 41, "mot0r", ""]
)
def test_other_words_stay_as_they_are(known, word):
    assert known.near(word) == {}
    assert known.parts(word) == ()


def test_words_run_together_are_taken_apart(known):
    assert known.parts("encoderpositionerror") == ("enc", "pos", "err")
    assert known.parts("moveio") == ("move", "io")
    assert known.parts("encoderpositionerrorx") == ()


def test_short_words_make_no_long_one():
    assert Spelling(dict.fromkeys(("ab", "ac", "us"), 1)).parts("abacus") == ()


def test_a_text_is_read_word_for_word(known):
    reading = known.read("MOTOROVERLOAD encodr 17 fan")
    assert reading.words == (*words("motor overload"), "encodr", "17", "fan")
    assert set(reading.meant) == {"encodr"}


def test_what_is_compared_is_bounded(known, monkeypatch):
    monkeypatch.setattr(spelling, "MAX_UNKNOWN", 2)
    assert len(known.read("encodr positoin ovrld").meant) == 2


def test_near_words_are_bounded():
    known = Spelling({f"encode{letter}": 1 for letter in "abcdfghij"})
    assert len(known.near("encodex")) == spelling.MAX_NEAR


def test_without_manuals_nothing_is_meant():
    assert Spelling({}).read("encodr overload").meant == {}


def test_how_like_two_words_are():
    assert alike("encdr", "encoder") == pytest.approx(10 / 12)
    assert alike("stable", "unstable") == 0.0
    assert alike("overspeed", "underspeed") == 0.0
