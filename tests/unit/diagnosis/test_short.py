import msgspec
import pytest
from tests.unit.diagnosis.test_render import diagnosis

from lineside.diagnosis.answers import error_diagnosis
from lineside.diagnosis.phrases import phrase
from lineside.diagnosis.short import Brief, encode_brief, fit, summary
from lineside.errors import Reason, RejectedError


def brief(one):
    return msgspec.json.decode(encode_brief(one), type=Brief)


def with_safety(safety, **fields):
    return msgspec.structs.replace(diagnosis(**fields), safety=(safety,))


def test_a_controller_gets_what_matters_flat_and_safety_first():
    assert encode_brief(diagnosis()).decode() == (
        '{"v":1,"st":"ok","code":"F012","sev":"high","safe":"Let the motor cool.",'
        '"mean":"Motor overtemperature","do":"⚠ lock out first: Replace the fan.",'
        '"cause":"The fan has stopped."}'
    )


def test_people_get_lines():
    assert summary(diagnosis()).splitlines() == [
        "HIGH L1/M1 F012",
        "! Let the motor cool.",
        "Motor overtemperature",
        "Cause: The fan has stopped.",
        "1. ⚠ lock out first: Replace the fan.",
        "2. Look at the display.",
        "Advisory: a qualified person decides.",
    ]


def test_in_chinese():
    text = summary(diagnosis(language="zh"))
    assert text.startswith("高 L1/M1 F012\n！Let the motor cool.\n")
    assert "\n可能原因：The fan has stopped.\n1、⚠先断电上锁：Replace the fan.\n" in text
    assert text.endswith("\n仅供参考，由具备资质的人员判断。")
    assert brief(diagnosis(language="zh")).do == "⚠先断电上锁：Replace the fan."


def test_what_was_not_diagnosed_says_why():
    assert brief(diagnosis("none")).st == "no_kb_hit"
    assert "(no_kb_hit)" in summary(diagnosis("none"))
    error = error_diagnosis(RejectedError(Reason.INVALID, "no alarm.code", field="alarm"), device="L1")
    assert (brief(error).st, brief(error).mean) == ("invalid", "no alarm.code")
    assert "\nno alarm.code\n" in summary(error)


@pytest.mark.parametrize(("language", "sign"), [("en", "s"), ("zh", "安")])
def test_as_safety_grows_all_else_goes_before_any_of_it_and_the_bounds_are_reached(language, sign):
    whole_sizes = {"brief": 0, "text": 0}
    for length in range(1, 700):
        one = with_safety(sign * length, language=language)
        short, text, raw = brief(one), summary(one), encode_brief(one)
        assert len(raw) <= 240
        assert len(text.encode()) <= 600
        if short.safe == sign * length:
            whole_sizes["brief"] = max(whole_sizes["brief"], len(raw))
        else:
            assert short.safe.endswith(f"{sign}…")
            assert (short.mean, short.do, short.cause) == ("", "", "")
        if sign * length in text:
            whole_sizes["text"] = max(whole_sizes["text"], len(text.encode()))
        else:
            assert len(text.splitlines()) == 3
    slack = len(sign.encode()) - 1
    assert 240 - slack <= whole_sizes["brief"] <= 240
    assert 600 - slack <= whole_sizes["text"] <= 600


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_safety_functions_are_told_first_is_never_cut(language):
    long = msgspec.structs.replace(
        with_safety(phrase("safety_function", language), language=language),
        reason="unauthenticated",
        severity="critical",
    )
    long = msgspec.structs.replace(long, alarm=msgspec.structs.replace(long.alarm, code="码" * 64))
    never = "严禁旁路。" if language == "zh" else "Never bypass it."
    assert never in brief(long).safe
    assert phrase("safety_function", language) in summary(long)


def test_a_check_is_whole_or_not_there():
    checks = tuple(msgspec.structs.replace(diagnosis().checks[0], text="x" * n) for n in (400, 300, 5))
    one = msgspec.structs.replace(diagnosis(), checks=checks)
    assert brief(one).do == ""
    assert [line[:2] for line in summary(one).splitlines() if line[1] == "."] == ["1.", "3."]


def test_a_sign_and_its_accent_stay_together():
    assert fit("abe\u0301d" + "x" * 9, 3 + 4, lambda text: len(text.encode())) == "ab…"
    assert fit("电机过热", 9, lambda text: len(text.encode())) == "电机…"
    assert fit("abc", 2, len) == "a…"
    assert fit("abc", 1, len) == ""


def test_room_that_a_cut_leaves_is_not_filled_with_anything_else():
    short, long = (with_safety("a" * 100 + " " * spaces + "b" * 100) for spaces in (200, 600))
    assert brief(short).safe == "a" * 100 + "…"
    assert (brief(short).mean, brief(short).do) == ("", "")
    assert [line[:3] for line in summary(long).splitlines()] == ["HIG", "! a", "Adv"]
