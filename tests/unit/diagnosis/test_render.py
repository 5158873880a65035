import io

import msgspec
import pytest
from rich.console import Console
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval

from lineside.diagnosis.answers import Clock, Frame, diagnosis_of, error_diagnosis
from lineside.diagnosis.render import render, render_text, summary
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
    return diagnosis_of(report(**fields), answer, frame, {"retrieve_ms": 1.5, "total_ms": 2.0}, Clock())


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
    assert "conf 1.00 · kb 3-abc · retrieve 2 ms · total 2 ms" in text


def test_in_chinese():
    text = render_text(diagnosis(language="zh"))
    assert "先断电上锁" in text
    assert "Safety" not in text


def test_abstentions_and_errors_say_why():
    assert "abstain: no_kb_hit" in render_text(diagnosis("none"))
    error = error_diagnosis(RejectedError(Reason.INVALID, "alarm is needed"), device="L1")
    assert "error: invalid" in render_text(error)
    assert "alarm is needed" in render_text(error)
    assert summary(error) == "L1 [medium] error (invalid): alarm is needed"


def test_one_line():
    assert summary(diagnosis()) == "L1/M1 F012 [high] Motor overtemperature | The fan has stopped."


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
        assert control not in text + summary(one)
    assert "\n" not in summary(one)
    out = io.StringIO()
    Console(file=out, width=200).print(render(one))
    assert "[bold red]" in out.getvalue() or not hostile.startswith("[bold")
