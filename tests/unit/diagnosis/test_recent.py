import pytest
from tests.unit.diagnosis.diagnosis_builders import entry

from lineside.diagnosis.knowledge.entry import Confirmation
from lineside.diagnosis.knowledge.retrieval import Candidate, Retrieval
from lineside.diagnosis.recent import MAX_AGE_S, MAX_FAULTS, Fault, earlier, in_light_of, recent_evidence

NOW = "2026-03-01T12:00:00.000Z"


def fault(code, at, unit="u"):
    return Fault(f"drive#{code}", f"drive:{unit}:{code}", f"2026-03-01T{at}.000Z")


def quotes(*faults, language="en"):
    return [one.quote for one in recent_evidence(earlier(faults, NOW), language)]


def test_faults_are_told_in_the_order_in_which_they_came():
    faults = (fault("F2", "11:59:58"), fault("F12", "11:57:00"))
    assert quotes(*faults) == [
        "The same device reported before, in this order: "
        "drive#F12 3 min before this report, drive#F2 2 s before this report."
    ]
    assert quotes(*faults, language="zh") == [
        "同一设备此前依次报告过：drive#F12（本次报告前 3 分钟），drive#F2（本次报告前 2 秒）。"
    ]
    (evidence,) = recent_evidence(earlier(faults, NOW), "en")
    assert (evidence.ref, evidence.kind, evidence.src) == ("H1", "log", "history")


def test_without_recent_faults_nothing_is_said():
    assert quotes() == []


def test_each_is_told_once_at_its_latest():
    found = earlier((fault("F1", "11:59:00"), fault("F1", "11:30:00")), NOW)
    assert [one.ago_s for one in found] == [60]


def test_number_and_age_are_bounded():
    many = [fault(f"F{n}", f"11:{59 - n}:00") for n in range(MAX_FAULTS + 2)]
    assert [one.fault for one in earlier(many, NOW)] == many[:MAX_FAULTS][::-1]
    assert MAX_AGE_S == 3600
    assert [one.ago_s for one in earlier([fault("F1", "11:00:00"), fault("F2", "10:59:59")], NOW)] == [3600]


def test_a_clock_that_was_set_back_makes_no_age():
    assert earlier([fault("F1", "12:00:01")], NOW) == ()


def candidates(*triples):
    return tuple(
        Candidate(entry(code="1", unit=unit, source="drive"), score, by) for unit, score, by in triples
    )


def units(*triples, verdict="conflict", recent="arm"):
    found = earlier([fault("F1", "11:59:00", unit=recent)], NOW)
    ordered = in_light_of(Retrieval(verdict, candidates(*triples), "1", 9), found)
    assert (ordered.verdict, ordered.version, ordered.total) == (verdict, "1", 9)
    return [one.entry.unit for one in ordered.candidates]


@pytest.mark.parametrize("by", ["code", "text"])
@pytest.mark.parametrize("verdict", ["conflict", "hit"])
def test_of_equals_the_unit_with_recent_faults_comes_first(by, verdict):
    assert units(("base", 1.0, by), ("arm", 1.0, by), ("x", 0.5, by), verdict=verdict) == ["arm", "base", "x"]
    assert units(("base", 1.0, by), ("arm", 1.0, by), recent="x", verdict=verdict) == ["base", "arm"]


def test_what_fits_better_stays_first():
    assert units(("base", 1.0, "text"), ("arm", 0.99, "text"), verdict="hit") == ["base", "arm"]
    assert units(("base", 1.0, "code"), ("arm", 1.0, "text")) == ["base", "arm"]


def test_what_the_plant_has_confirmed_stays_first():
    confirmed = entry(code="1", unit="base", confirmed=Confirmation(by="Wang", at="2026-02-01"))
    both = (Candidate(confirmed, 1.0, "code"), *candidates(("arm", 1.0, "code")))
    found = Retrieval("hit", both, "1", 2)
    assert in_light_of(found, earlier([fault("F1", "11:59:00", unit="arm")], NOW)) == found


def test_a_manual_without_units_tells_nothing():
    assert units(("base", 1.0, "code"), ("", 1.0, "code"), recent="") == ["base", ""]
