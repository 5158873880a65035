"""Payloads as gateways encode them: bytes to text to a document. Knows nothing of topics and reports."""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from lineside.errors import Reason, RejectedError

_decoder = msgspec.json.Decoder()


def to_text(payload: bytes) -> str:
    """UTF-8 with or without its mark, else GB18030; the NULs that pad it are gone.

    Raises RejectedError(INVALID).
    """
    payload = payload.rstrip(b"\0").removeprefix(codecs.BOM_UTF8)
    try:
        return payload.decode()
    except UnicodeDecodeError:
        pass
    try:
        return payload.decode("gb18030")
    except UnicodeDecodeError:
        raise RejectedError(Reason.INVALID, "the payload is neither UTF-8 nor GB18030") from None


def to_document(text: str) -> Any:
    """The JSON document. Raises RejectedError(INVALID)."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RejectedError(Reason.INVALID, f"the payload is not usable JSON: {error}") from None


def plain(text: str) -> str:
    """A controller's string: it ends at the first NUL, and what pads it is no part of it."""
    return text.partition("\0")[0].strip()
