"""A plant's own calibration: used whole or not at all."""

import importlib.resources

import msgspec
import pytest

from lineside.diagnosis.knowledge.calibration_file import (
    MAX_BYTES,
    CalibrationError,
    read_calibration,
    write_calibration,
)
from lineside.diagnosis.knowledge.fusion import ChoiceWeights, log_odds, shipped_calibration
from lineside.evaluation.calibrate import calibration_toml

SHIPPED = (
    importlib.resources.files("lineside.diagnosis.knowledge").joinpath("calibration.toml").read_text("utf-8")
)
CHOICE = ChoiceWeights(threshold=0.4, bias=0.0, score=1.0, choice=1.0)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "calibration.toml"
    own = msgspec.structs.replace(
        shipped_calibration(),
        models={"some-model-1.5b-int4": CHOICE},
        origin={"embedder": "e5", "reports": 9},
    )
    write_calibration(path, calibration_toml(own))
    assert read_calibration(path, "e5") == own
    assert [one.name for one in tmp_path.iterdir()] == ["calibration.toml"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("format = 1", "format = 2"), "format"),
        (lambda text: text.replace("format = 1\n", ""), "format"),
        (lambda text: text.replace("[long]", "[longer]"), "long"),
        (lambda text: text.replace("\nbias", "\nbiass", 1), "biass"),
        (lambda text: text.replace("threshold = ", "threshold = 1", 1), r"short\.threshold"),
        (lambda text: text.replace("bias = ", "bias = nan #", 1), r"short\.bias"),
        (lambda text: text.replace("bias = ", "bias = inf #", 1), r"short\.bias"),
        (lambda text: text[: len(text) // 2], "calibration.toml"),
        (lambda text: text + "#" * MAX_BYTES, f"more than {MAX_BYTES} bytes"),
        (lambda text: text + "\x00", "calibration.toml"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, spoil, said):
    path = tmp_path / "calibration.toml"
    path.write_text(spoil(SHIPPED), "utf-8")
    with pytest.raises(CalibrationError, match=said) as caught:
        read_calibration(path)
    assert str(path) in caught.value.message
    assert "--calibrate" in caught.value.hint


def test_a_file_for_another_embedder_is_refused(tmp_path):
    path = tmp_path / "calibration.toml"
    path.write_text(SHIPPED, "utf-8")
    with pytest.raises(CalibrationError, match="was fitted to the embedder multilingual-e5-small-"):
        read_calibration(path, "another")
    assert read_calibration(path) == shipped_calibration()


def test_a_file_that_is_not_there_and_one_that_cannot_be_written(tmp_path):
    with pytest.raises(CalibrationError, match="No such file") as caught:
        read_calibration(tmp_path / "c")
    assert "[diagnosis]" in caught.value.hint
    with pytest.raises(CalibrationError, match="No such file"):
        write_calibration(tmp_path / "d" / "c", "")


def test_a_choice_needs_both_the_search_and_the_model():
    sure = CHOICE.probability(0.9, 0.9)
    assert sure > CHOICE.probability(0.9, 0.5) > CHOICE.probability(0.5, 0.5) == 0.5
    assert (log_odds(0.0), log_odds(0.5), log_odds(1.0)) == (-5.0, 0.0, 5.0)
