import pytest
from tests.unit.diagnosis.diagnosis_builders import entry

from lineside.diagnosis.knowledge.firmware import matches, ranges_of


@pytest.mark.parametrize(
    ("firmware", "inside", "outside"),
    [
        (">=2.1 <3", ("2.1", "V2.1.0", "2.10", "2.9.9"), ("2.0", "2", "3", "3.0.1")),
        (">= V1.4, < 2", ("1.4", "1.12"), ("1.3", "2.0")),
        ("≤2.1", ("2.1.7", "1.9"), ("2.2",)),
        (">2.1", ("2.2", "3"), ("2.1", "2.1.7")),
        ("V2.1-V2.8", ("2.1", "2.8.4", "2.5"), ("2.0.9", "2.9")),
        ("2.1 to 2.8", ("2.2",), ("2.9",)),
        ("2.1至2.8", ("2.2",), ("2.9",)),
        ("from 1.5", ("1.5", "2"), ("1.4.9",)),
        ("1.5+", ("1.5", "2"), ("1.4",)),
        ("V2.0 and later", ("2.0", "4"), ("1.9",)),
        ("V2.0及以上", ("2.0", "4"), ("1.9",)),
        ("up to 1.9", ("1.9.9", "1"), ("1.10",)),
        ("1.9以下", ("1.9", "1"), ("2",)),
        ("2.x", ("2", "2.7"), ("3", "1.9")),
        ("2.1", ("2.1", "2.1.5"), ("2.2", "2.10")),
        ("1.x; 3.x", ("1.2", "3.4"), ("2.0",)),
    ],
)
def test_ranges(firmware, inside, outside):
    assert [version for version in inside if not matches(firmware, version)] == []
    assert [version for version in outside if matches(firmware, version)] == []


@pytest.mark.parametrize("firmware", ["", "*", "any", "全部", "-"])
def test_an_empty_range_fits_anything(firmware):
    assert matches(firmware, "9.9")


def test_an_unknown_version_fits_any_range():
    assert matches(">=2", "")
    assert matches(">=2", "beta")


@pytest.mark.parametrize("firmware", ["newer", ">=2 or so", "2.1 - ", "<", "v"])
def test_what_is_no_range_is_refused(firmware):
    with pytest.raises(ValueError) as caught:
        ranges_of(firmware)
    assert str(caught.value) == firmware.strip()


def test_an_entry_of_other_firmware_is_not_found(search):
    old = entry("F1", "Fan stopped", source="old", firmware="<2")
    new = entry("F1", "Mains missing", source="new", firmware=">=2")
    assert search([old, new], code="F1", fw="1.8").candidates[0].entry == old
    assert search([old, new], code="F1", fw="V2.3").candidates[0].entry == new
    assert search([old, new], code="F1").verdict == "conflict"
    assert search([old], code="F1", fw="2.0").verdict == "none"
    assert search([old], text="Fan stopped", fw="2.0").verdict == "none"
