import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval, text

from lineside.diagnosis.options import options_of
from lineside.diagnosis.report import Value
from lineside.diagnosis.rules import Choice, answer_by_rules, answer_of, severity_floor
from lineside.diagnosis.work import may_be_suggested
from lineside.errors import Reason

FAN = entry(
    "F012",
    "Motor overtemperature",
    meaning="More than 130 °C.",
    causes=("The fan has stopped.", "The load is too high."),
    actions=("Clean the fan.", "Replace the filter.", "Measure the current.", "Reset the drive."),
    safety=("Lock out and tag out the drive.",),
    severity="high",
    zh=text("电机过热", meaning="超过 130 °C。", causes=("风扇停转。",), actions=("清洁风扇。",)),
)
GUARD = entry(
    "G01",
    "Guard door open",
    causes=("The door switch is misaligned.",),
    actions=("Close the door.", "Bypass the switch for a test.", "Reset the safety relay."),
)


def answer(verdict="hit", entries=(FAN,), language="en", **fields):
    return answer_by_rules(report(**fields), retrieval(verdict, *entries), language)


def test_a_hit_is_answered_with_the_manuals_words_alone():
    found = answer()
    assert (found.status, found.reason, found.conf) == ("ok", None, 1.0)
    assert found.meaning == "Motor overtemperature. More than 130 °C."
    assert [cause.text for cause in found.causes] == list(FAN.en.causes)
    assert [check.text for check in found.checks] == list(FAN.en.actions)
    assert [check.kind for check in found.checks] == ["inspect", "replace", "measure", "reset"]
    assert [check.isolate for check in found.checks] == [True, True, True, False]
    assert all(part.refs == ("K1",) for part in (*found.causes, *found.checks))
    assert found.safety == FAN.en.safety
    assert found.evidence[0].src == "drive#F012"


def test_chinese_comes_from_the_chinese_text():
    found = answer(language="zh")
    assert found.meaning == "电机过热。超过 130 °C。"
    assert [cause.text for cause in found.causes] == ["风扇停转。"]


def test_a_missing_language_falls_back_to_the_other():
    assert answer(entries=(GUARD,), language="zh").meaning == "Guard door open"


def test_an_entry_without_causes_states_none():
    found = answer(entries=(entry("1", "Overload"),))
    assert (found.causes, found.checks, found.meaning) == ((), (), "Overload")
    assert found.safety != ()


def test_no_hit_abstains_with_nothing_but_safety_and_readings():
    found = answer("none", (), values=(Value(n="t", v=2, hi=1),))
    assert (found.status, found.reason, found.causes, found.checks, found.wo) == (
        "abstain",
        Reason.NO_KB_HIT,
        (),
        (),
        None,
    )
    assert found.safety != ()
    assert [one.kind for one in found.evidence] == ["sensor"]
    assert found.conf == 0.0


def test_a_near_miss_is_not_shown_as_evidence():
    assert answer("none", (FAN,)).evidence == ()


def test_a_conflict_abstains_and_lists_every_entry():
    found = answer("conflict", (FAN, GUARD))
    assert (found.status, found.reason, found.causes, found.checks) == ("abstain", Reason.CONFLICT, (), ())
    assert [(one.ref, one.src) for one in found.evidence] == [("K1", "drive#F012"), ("K2", "drive#G01")]
    assert "drive#F012" in found.meaning
    assert "drive#G01" in found.meaning
    assert any("Never bypass" in line for line in found.safety)


@pytest.mark.parametrize(
    ("sev", "entry_severity", "expected"),
    [
        (1, None, "low"),
        (300, None, "low"),
        (301, None, "medium"),
        (601, None, "high"),
        (800, None, "high"),
        (801, None, "critical"),
        (None, None, "medium"),
        (100, "critical", "critical"),
        (900, "low", "critical"),
        (None, "low", "low"),
    ],
)
def test_severity_is_the_worse_of_entry_and_report(sev, entry_severity, expected):
    assert severity_floor(report(sev=sev), [entry(severity=entry_severity)]) == expected


def test_a_conflict_is_as_severe_as_the_worst_of_its_entries():
    assert answer("conflict", (FAN, GUARD)).severity == "high"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_safety_function_gets_the_fixed_template_and_the_manual_as_a_quotation(language):
    estop = entry("E1", "Emergency IO triggered", actions=("Ground both EIs.",), zh=text("急停IO触发"))
    found, other = answer(entries=(GUARD,), language=language), answer(entries=(estop,), language=language)
    assert found.safety == other.safety
    assert [check.text for check in found.checks] == [check.text for check in other.checks]
    assert [(check.kind, check.isolate) for check in found.checks] == [
        ("inspect", False),
        ("inspect", False),
        ("inspect", True),
    ]
    assert found.causes == ()
    assert found.meaning == "Guard door open"
    assert all(may_be_suggested(check.text, safety_function=True) for check in found.checks)
    assert all(may_be_suggested(line, safety_function=True) for line in found.safety)


def test_a_quotation_of_what_is_not_advised_is_marked():
    for language, mark in (("en", "quoted and not advised: “"), ("zh", "并非建议：“")):
        quote = answer(entries=(GUARD,), language=language).evidence[0].quote
        assert mark in quote
        assert quote.endswith("”")
        assert "Bypass the switch for a test." in quote
        assert "Reset the safety relay." in quote
    assert answer().evidence[0].quote.startswith("Motor overtemperature / ")


def test_where_a_safety_function_may_be_behind_it_no_reset_is_suggested():
    drive = entry(
        "1", "Servo disabled", causes=("The e-stop is pressed.",), actions=("Look for it.", "Power on again.")
    )
    found = answer(entries=(drive,))
    assert [check.text for check in found.checks] == ["Look for it."]
    assert [cause.text for cause in found.causes] == ["The e-stop is pressed."]


@pytest.mark.parametrize("alarm", ["E-STOP pressed", "光幕被遮挡"])
def test_a_safety_function_that_no_manual_knows_is_warned_of(alarm):
    assert "bypass" in answer("none", (), alarm_text=alarm).safety[0]
    assert "bypass" not in answer("none", (), alarm_text="Motor hot").safety[0]


def test_a_bypass_is_dropped_from_any_entry():
    jam = entry("1", "Infeed jam", actions=("Jumper X3.", "Free the infeed."))
    assert [check.text for check in answer(entries=(jam,)).checks] == ["Free the infeed."]


def test_the_work_order():
    found = answer(sev=900)
    assert (found.wo.prio, found.wo.type) == (1, "CM")
    assert found.wo.title == "L1/M1 F012 Motor overtemperature"
    assert len(answer(entries=(entry("1", "x" * 400),)).wo.title) <= 120


def test_quotes_are_bounded():
    long = entry("1", "Overload", causes=tuple("c" * 300 for _ in range(5)))
    assert len(answer(entries=(long,)).evidence[0].quote) <= 400


def test_a_choice_reorders_and_drops_nothing():
    options = options_of(retrieval("hit", FAN), "en")
    choice = Choice(causes=(1,), checks=(2, 0), severity="critical", conf=0.5)
    found = answer_of(report(), options, "en", choice)
    assert [cause.text for cause in found.causes] == [
        "The load is too high.",
        "The fan has stopped.",
    ]
    assert {cause.refs for cause in found.causes} == {("K1",)}
    assert [check.text for check in found.checks] == [FAN.en.actions[index] for index in (2, 0, 1, 3)]
    assert (found.severity, found.conf) == ("critical", 0.5)


def test_a_choice_never_lowers_severity():
    options = options_of(retrieval("hit", FAN), "en")
    assert answer_of(report(), options, "en", Choice(severity="low")).severity == "high"


def test_the_chosen_entry_is_quoted_first_and_the_others_stay_visible():
    options = options_of(retrieval("hit", FAN, GUARD), "en")
    found = answer_of(report(), options, "en", Choice(option=1))
    assert [one.ref for one in found.evidence] == ["K2", "K1"]
    assert found.checks[0].refs == ("K2",)
