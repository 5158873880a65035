"""What is kept of compiled plans, and what is refused: the child's last word, and how logits are compared."""

import math
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lineside.engine.base import Capabilities, Costs
from lineside_models.errors import BuildError
from lineside_models.trt import verify as module
from lineside_models.trt.verify import LARGEST_ERROR, Agreement, difference, verify


def said_by_the_child(monkeypatch, output, errors=b""):
    ended = subprocess.CompletedProcess([], 0, output, errors)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: ended)


@pytest.mark.parametrize("error", [0.0, 0.014, LARGEST_ERROR])
def test_plans_that_agree_are_kept(monkeypatch, error):
    found = Agreement(error, "a GPU")
    said_by_the_child(monkeypatch, b"a warning of TensorRT's\n" + msgspec.json.encode(found) + b"\n")
    assert verify(Path("bundle"), "90") == found


@pytest.mark.parametrize(
    ("error", "said"),
    [(math.nextafter(LARGEST_ERROR, 1), "by 0.35 of their size"), (1.0, "by 1.00"), (None, "no numbers")],
)
def test_plans_that_do_not_are_refused_and_what_to_do_is_said(monkeypatch, error, said):
    said_by_the_child(monkeypatch, msgspec.json.encode(Agreement(error, "a GPU")))
    with pytest.raises(BuildError, match=said) as caught:
        verify(Path("bundle"), "90")
    assert "--precision" in caught.value.hint


def test_a_child_that_dies_says_why(monkeypatch):
    said_by_the_child(monkeypatch, b"", b"x" * 5000 + b"out of memory")
    with pytest.raises(BuildError, match=r"did not run: x+out of memory") as caught:
        verify(Path("bundle"), "90")
    assert len(str(caught.value)) < 2000


class Fixed:
    """An engine whose logits are a row of numbers, some positions off by `factor`."""

    capabilities = Capabilities("fixed", "host", 3, 64, 64, 4, False, 0, Costs((1,), 0, 1))

    def __init__(self, factor=1.0, slot=0, past_len=0):
        self._factor, self._slot, self._past_len = factor, slot, past_len

    def forward(self, batch):
        (call,) = batch
        off = call.slot == self._slot and call.past_len >= self._past_len
        row = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
        return [[row * self._factor if off else row]]


@pytest.mark.parametrize(("slot", "past_len"), [(0, 0), (0, 9), (2, 0), (2, 9)])
def test_a_difference_counts_wherever_it_is(slot, past_len):
    tokens = list(range(10))
    assert difference(Fixed(1.25, slot, past_len), Fixed(), tokens) == pytest.approx(0.25)
    assert difference(Fixed(math.nan, slot, past_len), Fixed(), tokens) is None
    assert difference(Fixed(math.inf, slot, past_len), Fixed(), tokens) is None
    assert difference(Fixed(0.0, slot, past_len), Fixed(), tokens) == 1.0
