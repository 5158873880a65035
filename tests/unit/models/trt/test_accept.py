"""What a precision may cost."""

from __future__ import annotations

import pytest

from lineside_models.errors import BuildError
from lineside_models.perplexity import Perplexity
from lineside_models.trt.accept import Cost, check_cost, texts_for


def cost(text: str, rounded: float) -> Cost:
    return Cost(Perplexity(text, 100, 10.0), Perplexity(text, 100, rounded))


def test_every_text_is_held_to_the_limit() -> None:
    check_cost("int8", [cost("a.txt", 10.5), cost("b.txt", 11.0)], 1.1)
    with pytest.raises(BuildError, match=r"int8 raises perplexity over b\.txt to 1\.20 of fp16's, over 1\.1"):
        check_cost("int8", [cost("a.txt", 10.5), cost("b.txt", 12.0)], 1.1)


def test_what_auto_chose_is_refused_with_why_it_was_chosen_and_what_to_do() -> None:
    with pytest.raises(
        BuildError, match="auto chose int4 \\(fp16 does not fit\\), but int4 raises"
    ) as caught:
        check_cost("int4", [cost("a.txt", 12.0)], 1.1, "fp16 does not fit")
    assert "lower --max-batch or --max-seq-len until fp16 fits" in caught.value.hint
    with pytest.raises(BuildError) as caught:
        check_cost("int4", [cost("a.txt", 12.0)], 1.1)
    assert "auto" not in caught.value.message
    assert "fp16 fits" not in caught.value.hint


def test_every_language_that_has_a_text_is_measured() -> None:
    assert texts_for(("en", "zh", "xx")) == ["en", "zh"]
    assert texts_for(("xx",)) == ["en"]
