"""What a model's reading changes in a search across languages, and what it does not."""

import time

import anyio
import msgspec
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.diagnosis.diagnosis_builders import entry, report, text

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.knowledge.fusion import Calibration, Fused, ReadingWeights, Weights
from lineside.diagnosis.knowledge.rereading import (
    CAUSE_CHARS,
    MEANING_CHARS,
    READ,
    TITLE_CHARS,
    Reading,
    behind,
    evidence_of,
    first_of,
    reread,
)
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Found, Store
from lineside.diagnosis.knowledge.vectors import Vectors
from lineside.diagnosis.knowledge.writing import write_all
from lineside.diagnosis.pipeline import RESERVE_MS, Pipeline
from lineside.diagnosis.rereading import find
from lineside.diagnosis.writer import Heard
from lineside.errors import Reason, RejectedError
from lineside.ports import Call
from lineside.serving.request import Principal

pytestmark = pytest.mark.anyio

WEIGHTS = Weights(threshold=0.5, bias=-8.0, words=8.0, vector=9.0, margin=2.0, unknown_code=-9.0)
READS = ReadingWeights(threshold=0.6, ranking=0.5, bias=-4.0, share=0.1, gain=0.5, lead=0.1, kept=0.1)
CALIBRATION = Calibration(format=1, short=WEIGHTS, long=WEIGHTS, foreign=WEIGHTS, reading={"reader": READS})
HOT = entry("1", "", zh=text("电机过热"))
BELT = entry("2", "", zh=text("电机皮带打滑"))
LOW = entry("3", "Pressure low in the tank")
TEXT = "the motor is hot"


class ScriptedReader:
    """Holds the text for likely behind prompts that have `word`."""

    model_name = "reader"

    def __init__(self, word="", *, joules=None, trouble=None):
        self.word, self.joules, self.trouble = word, joules, trouble
        self.calls = []

    async def read(self, prompts, text, call):
        self.calls.append((tuple(prompts), text, call))
        if self.trouble is not None:
            await self.trouble()
        return Heard(
            tuple(-10.0 if self.word and self.word in one else -20.0 for one in prompts), self.joules
        )


@pytest.fixture
def base(tmp_path):
    """base(entries): a searcher by words and vectors."""
    opened = []

    def make(*entries, calibration=CALIBRATION):
        write_all(tmp_path / "knowledge.db", entries)
        store = Store(tmp_path / "knowledge.db")
        vectors = Vectors(store, ToyEmbedder())
        opened.extend((vectors, store))
        assert vectors.wait(10)
        return Searcher(store, 3, vectors, calibration)

    yield make
    for one in opened:
        one.close()


def a_call(timeout_s=20.0):
    return Call(Principal("tests", "test"), time.monotonic_ns() + int(timeout_s * 1e9))


async def found_by(searcher, reader, timeout_s=20.0, **query):
    query.setdefault("text", TEXT)
    return await find(searcher, Query(**query), reader, a_call(timeout_s), timeout_s)


def ids(retrieval):
    return [candidate.entry.id for candidate in retrieval.candidates]


async def test_what_the_model_holds_for_likelier_comes_first_with_its_confidence(base):
    searcher = base(HOT, BELT, LOW)
    assert ids(searcher.search(Query(text=TEXT)))[0] == HOT.id
    reader = ScriptedReader("皮带", joules=2.5)
    found = await found_by(searcher, reader)
    assert (found.retrieval.verdict, ids(found.retrieval)[0]) == ("hit", BELT.id)
    # -4 + 0.1 * log odds of the search + 0.5 * 10 + 0.1 * (10 - 0)
    assert 0.8 < found.retrieval.candidates[0].score < 0.95
    scores = [one.score for one in found.retrieval.candidates]
    assert scores == sorted(scores, reverse=True)
    assert (found.model, found.energy_j) == ("reader", 2.5)
    (prompts, said, _), *more = reader.calls
    assert (more, said) == ([], " " + TEXT)
    assert [name for name in ("过热", "皮带", "Pressure") if not any(name in one for one in prompts)] == []
    assert len(prompts) == 4


async def test_a_text_that_is_likely_behind_no_entry_is_abstained_from(base):
    searcher = base(HOT, BELT)
    assert searcher.search(Query(text=TEXT)).verdict == "hit"
    found = await found_by(searcher, ScriptedReader())
    assert (found.retrieval.verdict, found.model) == ("none", "reader")
    assert found.retrieval.candidates


async def test_what_the_search_is_not_sure_of_may_be_answered_once_it_is_read(base):
    doubting = msgspec.structs.replace(WEIGHTS, threshold=0.999)
    searcher = base(HOT, BELT, calibration=msgspec.structs.replace(CALIBRATION, foreign=doubting))
    assert searcher.search(Query(text=TEXT)).verdict == "none"
    found = await found_by(searcher, ScriptedReader("过热"))
    assert (found.retrieval.verdict, ids(found.retrieval)[0]) == ("hit", HOT.id)


async def test_entries_that_nothing_parts_are_parted_by_reading(base):
    searcher = base(*(entry(str(n), "", zh=text(f"电机过热{sign}")) for n, sign in enumerate("甲乙丙丁戊")))
    assert searcher.search(Query(text=TEXT)).verdict == "conflict"
    found = await found_by(searcher, ScriptedReader("丙"))
    assert (found.retrieval.verdict, ids(found.retrieval)[0]) == ("hit", "drive::2")


@pytest.mark.parametrize(
    "query",
    [
        {"text": "Pressure low in the tank"},
        {"code": "1", "text": TEXT},
        {"text": ""},
    ],
    ids=["the same language", "a known code", "no text"],
)
async def test_what_is_no_matter_of_languages_is_not_read(base, query):
    reader = ScriptedReader("过热")
    searcher = base(HOT, BELT, LOW)
    found = await found_by(searcher, reader, **query)
    assert (reader.calls, found.model) == ([], "")
    assert found.retrieval == searcher.search(Query(**query))


async def test_what_the_words_alone_are_sure_of_is_not_read(base):
    never = msgspec.structs.replace(WEIGHTS, bias=-99.0)
    searcher = base(HOT, entry("9", "", zh=text("Servo drive bus voltage low 压")))
    searcher.calibration = Calibration(
        format=1, short=never, long=never, foreign=never, reading=CALIBRATION.reading
    )
    reader = ScriptedReader("过热")
    found = await found_by(searcher, reader, text="Servo drive bus voltage low")
    assert (found.retrieval.verdict, reader.calls) == ("hit", [])


async def test_a_model_that_was_not_calibrated_is_not_asked(base):
    reader = ScriptedReader("皮带")
    reader.model_name = "another"
    searcher = base(HOT, BELT)
    found = await found_by(searcher, reader)
    assert (reader.calls, found.model, ids(found.retrieval)[0]) == ([], "", HOT.id)


async def refuse():
    raise RejectedError(Reason.OVERLOAD, "9 requests are running or waiting")


async def break_down():
    raise ZeroDivisionError


@pytest.mark.parametrize("trouble", [refuse, break_down, lambda: anyio.sleep(30)])
async def test_whatever_keeps_the_model_from_reading_leaves_what_the_search_found(base, trouble):
    reader = ScriptedReader("皮带", trouble=trouble)
    searcher = base(HOT, BELT)
    begun_s = time.monotonic()
    found = await found_by(searcher, reader, timeout_s=0.2)
    assert time.monotonic() - begun_s < 5
    assert len(reader.calls) == 1
    assert (found.model, found.retrieval) == ("", searcher.search(Query(text=TEXT)))


async def test_an_answer_says_whose_reading_is_in_it(base):
    pipeline = Pipeline(base(HOT, BELT), reader=ScriptedReader("皮带", joules=2.5), mode="rules")
    call = a_call()
    (found,) = [one async for one in pipeline.diagnose(report("", TEXT), call) if isinstance(one, Diagnosis)]
    assert (found.status, found.mode, found.model, found.meaning[:6]) == (
        "ok",
        "rules",
        "reader",
        "电机皮带打滑",
    )
    assert 0 <= found.timings["reread_ms"] <= found.timings["retrieve_ms"]
    assert found.energy_j == 2.5
    ((_, _, asked),) = pipeline.reader.calls
    assert asked.deadline_ns == call.deadline_ns - RESERVE_MS * 1_000_000


async def test_an_answer_that_was_not_read_again_says_nothing_of_it(base):
    pipeline = Pipeline(base(HOT, LOW), reader=ScriptedReader(trouble=refuse), mode="rules")
    (found,) = [
        one async for one in pipeline.diagnose(report("", TEXT), a_call()) if isinstance(one, Diagnosis)
    ]
    assert (found.model, found.message, "reread_ms" in found.timings) == ("", "", False)


def fused(number, score):
    return Fused(Found(number, 1, 0.0, entry(str(number), "", zh=text(f"甲{number}"))), 0.0, score / 2)


def test_what_has_not_been_read_stays_behind_what_has():
    ranked = [fused(number, 1.8 - number / 100) for number in range(READ + 3)]
    gains = {one.found.entry.id: -40.0 - place for place, one in enumerate(ranked)}
    anew, _ = reread(ranked, 0.5, Reading(gains, READS))
    places = [int(one.fused.found.entry.code) for one in anew]
    assert places == [0, 1, 2, 3, 4, 5, 6, 7]
    scores = [one.score for one in anew]
    assert scores == sorted(scores, reverse=True)


def test_an_entry_that_came_in_meanwhile_counts_as_one_that_was_made_nothing_of():
    ranked = [fused(0, 1.8), fused(1, 1.79)]
    anew, _ = reread(ranked, 0.5, Reading({ranked[1].found.entry.id: 1.0}, READS))
    assert [one.fused for one in anew] == ranked[::-1]


def test_of_one_entry_alone_there_is_no_lead():
    assert evidence_of(0.5, [7.0], 0) == (0.0, 7.0, 0.0, 1.0)
    assert evidence_of(0.5, [7.0, 9.0], 1) == (0.0, 9.0, 2.0, 0.0)
    assert first_of([1.0, 1.0], [0.0, 0.0], 0.1) == 0


def test_no_more_of_an_entry_is_read_than_its_bounds_say():
    words = text("标" * 400, meaning="意" * 3000, causes=("因" * 500, "果" * 500))
    prompt = behind(entry("1", "", zh=words), "en")
    counts = [prompt.count(sign) for sign in "标意因果"]
    assert counts == [TITLE_CHARS, MEANING_CHARS, CAUSE_CHARS, 0]
