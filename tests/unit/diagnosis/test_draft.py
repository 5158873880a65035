"""How sure a model was is how surely it chose the entry, whatever stands behind it."""

import pytest

from lineside.diagnosis.draft import Draft
from lineside.serving.request import TokenEvent

PIECES = {
    "causes first": ('{"entry":"', 'K1"', ',"causes":["K1.c2"', '],"checks":["K1.a1"]}'),
    "causes last": ('{"entry":"', 'K1"', ',"checks":["K1.a1"', '],"causes":["K1.c2"]}'),
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_only_the_choice_of_the_entry_counts(pieces):
    draft = Draft()
    for piece, probability in zip(pieces, (1.0, 0.8, 0.5, 0.5), strict=True):
        draft.take(TokenEvent(piece, (1,), probability))
    assert draft.probability == pytest.approx(0.8 * 0.5), "the piece that brings the comma is still in it"
    assert draft.text == "".join(pieces)
