import io

import msgspec
import pytest
from rich.console import Console
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval

from lineside.diagnosis.answers import Clock, Frame, diagnosis_of, error_diagnosis
from lineside.diagnosis.render import render, render_text
from lineside.diagnosis.rules import answer_by_rules
from lineside.errors import Reason, RejectedError

FAN = entry(
    "F012",
    "Motor overtemperature",
    causes=("The fan has stopped.",),
    actions=("Replace the fan.", "Look at the display."),
    safety=("Let the motor cool.",),
    severity="high",
)


def diagnosis(verdict="hit", language="en", **fields):
    answer = answer_by_rules(report(**fields), retrieval(verdict, FAN), language)
    frame = Frame(
        received_at="now", language=language, kb="3-abc", message="answered from the manual: overload"
    )
    return diagnosis_of(report(**fields), answer, frame, {"retrieve_ms": 1.5, "total_ms": 2100.0}, Clock())


def test_safety_comes_first_and_everything_is_there():
    text = render_text(diagnosis())
    order = [
        "HIGH",
        "Let the motor cool.",
        "Motor overtemperature",
        "The fan has stopped.",
        "Replace the fan.",
        "drive#F012",
        "overload",
        "Advisory",
        "rules",
    ]
    positions = [text.index(part) for part in order]
    assert positions == sorted(positions)
    assert "Replace the fan. [K1] (replace) ⚠ lock out first" in text
    assert "Look at the display. [K1] (inspect)\n" in text
    assert text.endswith("\nrules · confidence 1.00 · knowledge 3-abc · 2.10 s\n")


def test_in_chinese():
    text = render_text(diagnosis(language="zh"))
    assert text.startswith(" 高  L1/M1")
    assert "！Let the motor cool.\n" in text
    assert "1、Replace the fan. [K1] (更换) ⚠先断电上锁\n" in text
    assert text.endswith("\n规则 · 可信度 1.00 · 知识库 3-abc · 2.10 秒\n")
    for english in ("Safety", "inspect", "conf"):
        assert english not in text
    assert "不作诊断: 手册无相符条目" in render_text(diagnosis("none", "zh"))


def test_every_word_of_the_schema_is_said_in_chinese():
    for reason in Reason:
        error = error_diagnosis(RejectedError(reason, ""), device="L1", language="zh")
        assert reason.value not in render_text(error)
        assert "error" not in render_text(error)
    newer = msgspec.structs.replace(error, reason="of_a_newer_daemon")
    assert "of_a_newer_daemon" in render_text(newer)


def test_a_chinese_warning_stays_with_its_sign():
    out = io.StringIO()
    one = msgspec.structs.replace(diagnosis(language="zh"), safety=("伸入设备前须断电上锁" * 4,))
    Console(file=out, width=40).print(render(one))
    assert "！伸入设备前" in out.getvalue()


def test_abstentions_and_errors_say_why():
    assert "abstain: no_kb_hit" in render_text(diagnosis("none"))
    error = error_diagnosis(RejectedError(Reason.INVALID, "alarm is needed"), device="L1")
    assert "error: invalid" in render_text(error)
    assert "alarm is needed" in render_text(error)


def test_colour_only_on_a_terminal():
    for terminal in (True, False):
        out = io.StringIO()
        Console(file=out, force_terminal=terminal, color_system="standard" if terminal else None).print(
            render(diagnosis())
        )
        assert ("\x1b[" in out.getvalue()) is terminal


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b]0;x\x07", "a\nb", "[bold red]x[/]", "\u202egnp", "\x9b31m"])
def test_no_text_steers_the_terminal(hostile):
    one = msgspec.structs.replace(diagnosis(), meaning=hostile, message=hostile, safety=(hostile,))
    text = render_text(one)
    for control in ("\x1b", "\x07", "\u202e", "\x9b"):
        assert control not in text
    out = io.StringIO()
    Console(file=out, width=200).print(render(one))
    assert "[bold red]" in out.getvalue() or not hostile.startswith("[bold")
