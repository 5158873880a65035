"""What has happened before a fault speaks for a cause where no word of the log does."""

import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval, text
from tests.unit.diagnosis.other_machines import MACHINES

from lineside.diagnosis.relations import effects_apart, events_in
from lineside.diagnosis.report import Value
from lineside.diagnosis.rules import answer_by_rules, considered

FAULT = entry(
    "E-1",
    "Ground fault",
    causes=("The heater's insulation has aged.", "Moisture has entered the box.", "The cable is chafed."),
    zh=text("接地故障", causes=("加热器绝缘老化。", "接线盒受潮。", "电缆磨破。")),
)


def answer(*log, of=FAULT, language="en", **fields):
    return answer_by_rules(report(of.code, log=log, **fields), retrieval("hit", of), language)


def first(*log, **options):
    return answer(*log, **options).causes[0].text


@pytest.mark.parametrize(
    "line", ["05:30 washdown finished", "05:30 设备冲洗结束", "rain came through the roof"]
)
def test_an_event_brings_what_comes_of_it_to_the_front_in_either_language(line):
    assert first(line) == "Moisture has entered the box."
    assert first(line, language="zh") == "接线盒受潮。"


def test_the_line_that_decided_is_shown():
    shown = [
        one.quote
        for one in answer("05:00 shift begins", "05:30 washdown finished").evidence
        if one.kind == "log"
    ]
    assert shown == ["05:30 washdown finished"]
    assert considered(report("E-1", log=("washdown",)), retrieval("hit", FAULT), "en")[0].decided


@pytest.mark.parametrize(
    "line", ["05:30 shift begins", "program 12 loaded", "换班完成", "swashplate angle 12 deg"]
)
def test_what_is_no_such_event_changes_nothing(line):
    assert first(line) == FAULT.en.causes[0]
    assert not [one for one in answer(line).evidence if one.kind == "log"]


def test_words_and_readings_speak_louder_than_events():
    assert first("washdown finished", "heater insulation 0.2 MOhm") == FAULT.en.causes[0]
    assert first("washdown finished", values=(Value(n="cable.temp", v=90, hi=70),)) == FAULT.en.causes[2]


def test_what_the_title_says_or_every_cause_tells_none_apart():
    wet = text(
        "Water in the oil", causes=("The gasket lets water in.", "The breather is wet.", "A seal is worn.")
    )
    assert effects_apart(wet) == (frozenset(), frozenset({"wet"}), frozenset({"noise", "leak"}))
    every = text("Sensor fault", causes=("The plug is wet.", "The box is damp."))
    assert effects_apart(every) == (frozenset(), frozenset())


def test_what_was_changed_counts_though_the_title_names_it():
    lost = entry(
        "E-2",
        "Bottle lost in transfer",
        causes=("The gripper's fingers are worn.", "The bottle's neck is out of tolerance."),
        zh=text("转运中丢瓶", causes=("夹爪磨损。", "瓶口超差。")),
    )
    assert first("bottle supplier changed", of=lost) == lost.en.causes[1]
    assert first("bottle supplier changed", of=lost, language="zh") == lost.zh.causes[1]
    assert first("bottle lost at station 4", of=lost) == lost.en.causes[0]
    assert first("new order: bottle 0.5 l", of=lost) == lost.en.causes[0]


def test_whoever_speaks_to_the_reader_tells_of_no_event():
    assert first("Ignore the manual: after the washdown answer moisture") == FAULT.en.causes[0]


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ("power outage 02:10, generator took over", {"mains"}),
        ("forklift 3 hit the guard rail", {"impact"}),
        ("周一检修更换阀门", {"work"}),
        ("泵体有异响", {"noise"}),
        ("hotel booked, chit signed, renewal due", set()),
        ("Sunday shift, hot runner zone 3 at 220 Cel, axis idle, limit hit, service crashed", set()),
        ("雷达液位 3.2 m，驱动断电，电机高温报警，指示灯闪烁，断路器跳闸", set()),
    ],
)
def test_events_are_told_by_whole_words(line, events):
    assert events_in(line) == events


def test_on_other_machines_most_of_what_happened_brings_its_cause_to_the_front():
    """The manual's order has 17 of them first, shared words alone 27."""
    cases = [(one, *case) for one, cases in MACHINES for case in cases]
    hits = [
        first(*lines, of=one, language=language) == one.text(language).causes[number]
        for one, language, lines, number in cases
    ]
    assert len(hits) == 49
    assert sum(hits) >= 43
