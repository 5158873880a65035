import pytest
from tests.unit.diagnosis.diagnosis_builders import text

from lineside.diagnosis.knowledge.similarity import Probe
from lineside.diagnosis.knowledge.spelling import Reading, longest_common
from lineside.diagnosis.knowledge.terms import query_terms, sayings, signs, stem, title_terms, words


def test_joined_words_are_taken_apart():
    assert words("MoveJParamError Joint2") == ("move", "j", "param", "err", "joint", "2")


@pytest.mark.parametrize(
    ("one", "other"),
    [("filters", "filter"), ("blocked", "clogged"), ("TEMP", "temperature"), ("Overheat", "overtemperature")],
)
def test_words_for_the_same_thing_meet(one, other):
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("motor too hot", "motor overtemperature"),
        ("Motor temperature is high", "Motor temperature too high"),
        ("no vacuum", "vacuum not reached"),
        ("电机发烫", "电机过热"),
        ("电机温度高", "电机过热"),
        ("压力上不去", "压力未建立"),
    ],
)
def test_everyday_words_are_also_read_as_a_manual_says_them(text, title):
    assert sayings(text)[0] == text
    assert title in sayings(text)


@pytest.mark.parametrize(
    "text", ["", "jaw temp", "封口钳温度过", "no for Jump instruction", "hotel", "发热元件断线"]
)
def test_other_words_stay_as_they_are(text):
    assert sayings(text) == (text,)


@pytest.mark.parametrize("word", ["loss", "bus", "axis", "gas", "ring", "red"])
def test_endings_that_belong_to_the_word_stay(word):
    assert stem(word) == word


def test_two_character_chinese_words_are_terms():
    assert "过载" in query_terms("电机过载报警")
    assert query_terms("急停") == ["急停"]


def test_a_pair_is_still_found_where_characters_between_were_lost():
    assert set(query_terms("电检常")) <= set(title_terms("电流检测异常"))


def test_latin_pairs_in_chinese_are_no_words():
    assert "ab" not in title_terms("故障 a b")


def test_signs_are_bounded():
    assert len(signs("x" * 10_000)) == 400


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [("", "abc", 0), ("abc", "abc", 3), ("ace", "abcde", 3), ("abc", "cba", 1), ("急停", "急的停", 2)],
)
def test_longest_common_subsequence(one, other, length):
    assert longest_common(one, other) == longest_common(other, one) == length


def fit(query, title, **parts):
    return Probe.of(Reading.plain(query), {}, 100).similarity(text(title, **parts))


def test_the_title_itself_fits_wholly():
    assert fit("Encoder position error", "Encoder position error") == pytest.approx(1.0)
    assert fit("编码器故障", "编码器故障") == pytest.approx(1.0)


def test_order_counts():
    assert fit("position encoder error", "Encoder position error") < 0.95


def test_a_shorter_title_fits_better_where_the_text_says_no_more():
    assert fit("Option Error", "CP Option Error") > fit("Option Error", "Jump instruction Option Error")


def test_languages_are_not_compared():
    assert fit("Encoder", "编码器故障") == 0.0
    assert fit("编码器", "Encoder fault") == 0.0


def test_a_cause_fits_less_than_a_title():
    in_cause = fit("fan has stopped", "Overtemperature", causes=("fan has stopped",))
    assert 0.8 < in_cause < fit("fan has stopped", "fan has stopped")


@pytest.mark.parametrize("query", ["", "  ", "!!", "：：", "a" * 5000, "急" * 5000])
def test_any_text_can_be_compared(query):
    assert 0.0 <= fit(query, "Title") <= 1.0
