from lineside.errors import REASONS, LinesideError, Reason


def test_every_reason_has_its_row_and_no_row_is_left_over():
    assert set(REASONS) == set(Reason)


def test_an_error_shows_operation_message_and_remedy():
    assert (
        str(LinesideError("open x", "it is gone", "make it")) == "open x: it is gone\n  what to do: make it"
    )
    assert str(LinesideError("open x", "it is gone")) == "open x: it is gone"
