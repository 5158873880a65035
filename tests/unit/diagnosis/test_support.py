from dataclasses import replace

import msgspec
import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval, text

from lineside.devices.enrich import with_device
from lineside.devices.registry import Device
from lineside.diagnosis.answers import Clock, Frame, diagnosis_of
from lineside.diagnosis.diagnosis import Cause, Check, Evidence
from lineside.diagnosis.recent import Fault, earlier, recent_evidence
from lineside.diagnosis.report import Value
from lineside.diagnosis.rules import answer_by_rules
from lineside.diagnosis.support import Known, statements, unsupported

FAN = entry(
    "F012",
    "Motor overtemperature",
    meaning="More than 130 °C. The drive has stopped.",
    causes=("The fan has stopped.",),
    actions=("Clean the fan.", "Bypass the guard."),
    safety=("Lock out the drive.",),
    zh=text("电机过热", meaning="超过 130 °C。", causes=("风扇停转。",), actions=("清洁风扇。",)),
)
GUARD = entry("G01", "Guard door open", causes=("Bent hinge.",), actions=("Reset the relay.",))
LONG = entry("9", "Overload; twice", meaning="m" * 900)
REPORT = report(values=(Value(n="t", v=2, hi=1),), log=("F012 fan stopped",))


def diagnosed(*entries, verdict="hit", language="en", **changes):
    answer = answer_by_rules(REPORT, retrieval(verdict, *entries), language)
    frame = Frame(received_at="now", language=language, kb="1")
    return msgspec.structs.replace(diagnosis_of(REPORT, answer, frame, {}, Clock()), **changes)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("verdict", "entries"),
    [
        ("hit", (FAN,)),
        ("hit", (GUARD,)),
        ("hit", (LONG, FAN)),
        ("none", ()),
        ("conflict", (FAN, GUARD, LONG)),
        ("conflict", (entry("8", "t" * 500), entry("7", "u" * 500))),
    ],
)
def test_answers_by_rules_are_supported(verdict, entries, language):
    found = diagnosed(*entries, verdict=verdict, language=language)
    assert unsupported(found, entries, REPORT) == []
    assert statements(found) >= 2


INVENTED = "The bearing is worn."


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"causes": (Cause(text=INVENTED, refs=("K1",)),)}, "causes[0]"),
        ({"causes": (Cause(text="The fan has stopped.", refs=("K2",)),)}, "causes[0]"),
        ({"causes": (Cause(text="The fan has stopped.", refs=()),)}, "causes[0]"),
        ({"causes": (Cause(text="The fan has stopped.", refs=("S1",)),)}, "causes[0]"),
        ({"causes": (Cause(text="Clean the fan.", refs=("K1",)),)}, "causes[0]"),
        ({"checks": (Check(text=INVENTED, kind="inspect", isolate=True, refs=("K1",)),)}, "checks[0]"),
        ({"meaning": INVENTED}, "meaning"),
        ({"meaning": f"Motor overtemperature. {INVENTED}"}, "meaning"),
        ({"safety": (INVENTED,)}, "safety[0]"),
        ({"evidence": (Evidence(ref="K1", kind="manual", src="drive#F012", quote=INVENTED),)}, "evidence[0]"),
        ({"evidence": (Evidence(ref="K1", kind="manual", src="x#1", quote="Guard"),)}, "evidence[0]"),
        ({"evidence": (Evidence(ref="S1", kind="sensor", src="t", quote="t is 9."),)}, "evidence[0]"),
        ({"evidence": (Evidence(ref="L1", kind="log", src="log:1", quote="no such line"),)}, "evidence[0]"),
    ],
)
def test_what_is_invented_is_found(changes, field):
    found = unsupported(diagnosed(FAN, **changes), (FAN,), REPORT)
    assert field in [one.field for one in found]


def test_a_conflict_of_invented_entries_is_found():
    found = diagnosed(FAN, GUARD, verdict="conflict")
    assert [one.field for one in unsupported(found, (FAN,), REPORT)] == ["meaning", "evidence[1]"]


NOTE = "Two people at the press."
BEFORE = earlier((Fault("drive#E7", "drive::E7", "2026-11-25T10:00:00Z"),), "2026-11-25T10:05:00Z")


def of_a_known_device(language, log=()):
    """A complete answer: with H1, the order of events, and the device's own notes."""
    asked = report(log=log)
    asked = msgspec.structs.replace(
        asked, alarm=msgspec.structs.replace(asked.alarm, since="2026-11-25T10:05:00Z")
    )
    found = retrieval("hit", FAN)
    answer = answer_by_rules(asked, found, language)
    answer = replace(answer, evidence=(*answer.evidence, *recent_evidence(BEFORE, language)))
    frame = Frame(received_at="2026-11-25T10:05:00Z", language=language, kb="1")
    diagnosis = diagnosis_of(asked, answer, frame, {}, Clock())
    return asked, with_device(diagnosis, Device(id="L1", safety=(NOTE,)))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("log", [(), ("2026-11-25 10:04:50 F012 fan stopped",)])
def test_what_is_known_of_the_device_is_supported(language, log):
    asked, found = of_a_known_device(language, log)
    assert {one.ref for one in found.evidence} == {"K1", "H1", *(("L1", "O1") if log else ())}
    assert found.safety[0] == NOTE
    assert unsupported(found, (FAN,), asked, Known((NOTE,), BEFORE)) == []


def test_what_is_not_known_of_the_device_is_found():
    asked, found = of_a_known_device("en")
    fields = [one.field for one in unsupported(found, (FAN,), asked)]
    assert fields == ["safety[0]", "evidence[1]"]
    later = earlier((Fault("drive#E7", "drive::E7", "2026-11-25T10:01:00Z"),), "2026-11-25T10:05:00Z")
    fields = [one.field for one in unsupported(found, (FAN,), asked, Known((f"{NOTE}!",), later))]
    assert fields == ["safety[0]", "evidence[1]"]


def test_no_reading_passes_as_history():
    asked, found = of_a_known_device("en")
    quote = found.evidence[1].quote
    for kind, ref, said in (("sensor", "H1", quote), ("log", "S1", quote), ("log", "H1", INVENTED)):
        altered = Evidence(ref=ref, kind=kind, src="history", quote=said)
        changed = msgspec.structs.replace(found, evidence=(found.evidence[0], altered))
        known = Known((NOTE,), BEFORE)
        assert [one.field for one in unsupported(changed, (FAN,), asked, known)] == ["evidence[1]"]


def test_a_cause_may_be_computed_evidence():
    found = diagnosed(FAN)
    quote = next(one for one in found.evidence if one.kind == "sensor").quote
    said = msgspec.structs.replace(found, causes=(Cause(text=quote, refs=("S1",)),))
    assert unsupported(said, (FAN,), REPORT) == []
