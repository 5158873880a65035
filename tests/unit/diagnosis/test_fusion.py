import math
from types import SimpleNamespace

import msgspec
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.diagnosis.diagnosis_builders import entry, text

from lineside.diagnosis.knowledge.fusion import (
    Calibration,
    Features,
    Fused,
    Weights,
    features_of,
    kind_of,
    parse_calibration,
    probability,
    shipped_calibration,
)
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.scope import scope_of
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Found, Store
from lineside.diagnosis.knowledge.text_search import MAX_FUSED, TextSearch
from lineside.diagnosis.knowledge.vectors import Vectors
from lineside.diagnosis.knowledge.writing import write_all

WEIGHTS = Weights(threshold=0.5, bias=-8.0, words=8.0, vector=9.0, margin=2.0, unknown_code=-9.0)
CALIBRATION = Calibration(format=1, short=WEIGHTS, long=WEIGHTS, foreign=WEIGHTS)
HOT = entry("1", "", source="plant", zh=text("电机过热"))
STUCK = entry("2", "", source="plant", zh=text("抱闸卡住"))
LOW = entry("3", "Pressure low in the tank", source="plant")


@pytest.fixture
def find(tmp_path):
    """find(entries, text=..., ...) by words and vectors."""
    opened = []

    def run(entries, max_entries=3, calibration=CALIBRATION, **query):
        write_all(tmp_path / "knowledge.db", entries)
        store = Store(tmp_path / "knowledge.db")
        vectors = Vectors(store, ToyEmbedder())
        opened.extend((vectors, store))
        assert vectors.wait(10)
        return Searcher(store, max_entries, vectors, calibration).search(Query(**query))

    yield run
    for one in opened:
        one.close()


def ids(found):
    return [candidate.entry.id for candidate in found.candidates]


def test_an_english_text_finds_a_chinese_manual(find, search):
    assert search([HOT, STUCK], text="the motor is hot").verdict == "none"
    found = find([HOT, STUCK], text="the motor is hot")
    assert (found.verdict, ids(found)[0]) == ("hit", HOT.id)
    assert 0.5 <= found.candidates[0].score <= 1


def test_a_chinese_text_finds_an_english_manual(find):
    assert ids(find([LOW, HOT, STUCK], text="压力过低"))[0] == LOW.id


def test_what_nothing_resembles_is_abstained_from_and_the_nearest_shown(find):
    found = find([HOT, STUCK, LOW], text="noodle soup from noon on")
    assert (found.verdict, len(found.candidates)) == ("none", 3)
    assert all(candidate.score < 0.5 for candidate in found.candidates)


def test_a_code_that_nobody_knows_asks_for_more(find):
    assert find([HOT, STUCK], text="the motor is hot").verdict == "hit"
    assert find([HOT, STUCK], text="the motor is hot", code="E99").verdict == "none"


def test_a_known_code_needs_no_vectors(find):
    found = find([HOT, STUCK], code="2", text="the motor is hot")
    assert ids(found)[0] == STUCK.id


def test_what_the_words_alone_are_sure_of_is_answered(find):
    never = msgspec.structs.replace(WEIGHTS, bias=-99.0)
    calibration = Calibration(format=1, short=never, long=never, foreign=never)
    assert find([LOW, HOT], text="Pressure low in the tank", calibration=calibration).verdict == "hit"
    assert find([LOW, HOT], text="the motor is hot", calibration=calibration).verdict == "none"


def test_a_text_that_fits_too_many_equally_names_none(find):
    alike = [entry(str(n), "Axis error", source="plant") for n in range(5)]
    found = find(alike, text="Axis error")
    assert found.verdict == "conflict"
    assert len(ids(found)) == 5


def test_few_of_what_the_words_find_are_compared_beside_vectors(tmp_path):
    path = tmp_path / "knowledge.db"
    write_all(path, [entry(f"F{n}", f"Motor stopped {n}") for n in range(2 * MAX_FUSED)])
    none_near = SimpleNamespace(nearest=lambda count: [], of=lambda rows: [0.0] * len(rows))
    with Store(path).snapshot() as snapshot:
        found = TextSearch(snapshot, scope_of(snapshot.facets, "", "", ""), "motor stopped 7").fused(
            none_near
        )
    assert (len(found), found[0].found.entry.code) == (MAX_FUSED, "F7")


def test_another_vendors_entry_is_not_found_by_meaning(find):
    theirs = entry("1", "", source="theirs", vendor="Pell", zh=text("电机过热"))
    ours = entry("2", "", source="ours", vendor="Orrin", zh=text("抱闸卡住"))
    assert theirs.id not in ids(find([theirs, ours], text="the motor is hot", vendor="Orrin"))


@pytest.mark.parametrize(
    ("said", "comparable", "kind"),
    [
        ("Motor hot", True, "short"),
        ("电机过热报警", True, "short"),
        ("one two three four five six seven eight", True, "long"),
        ("编码器插头松动或者编码器电池电压过低", True, "long"),
        ("Motor hot", False, "foreign"),
    ],
)
def test_kinds_of_texts(said, comparable, kind):
    assert kind_of(said, comparable=comparable) == kind


def test_features_are_of_the_first_and_its_lead():
    def fused(words, vector):
        return Fused(Found(1, 1, 0.0, HOT), words, vector)

    features = features_of([fused(0.5, 0.9), fused(0.0, 0.8)], code=True)
    assert features == pytest.approx((0.125, 0.9, 0.325, 1.0))
    assert features_of([fused(0.5, 0.9)], code=False).margin == 0


def test_probability_is_logistic_and_never_overflows():
    none = Features(0, 0, 0, 0)
    assert probability(none, WEIGHTS) == pytest.approx(1 / (1 + math.exp(8)))
    assert probability(Features(1e9, 0, 0, 0), WEIGHTS) == pytest.approx(1)
    assert probability(Features(-1e9, 0, 0, 0), WEIGHTS) == pytest.approx(0)


def test_the_shipped_calibration_says_what_it_was_fitted_on():
    calibration = shipped_calibration()
    assert {"reports", "reports_sha256", "embedder"} <= set(calibration.origin)
    for kind in ("short", "long", "foreign"):
        assert 0 < calibration.weights(kind).threshold < 1


def test_a_calibration_with_an_unknown_key_is_refused():
    with pytest.raises(msgspec.ValidationError, match="typo"):
        parse_calibration(b"[short]\ntypo = 1\n")
