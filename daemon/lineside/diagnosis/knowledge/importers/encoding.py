"""From a text file's bytes to its text, whatever wrote it. Knows nothing of what the text says."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Chinese in GB18030 comes nearly all in pairs of bytes from 0xA1 up; accents of Western encodings do not.
MIN_PAIRED = 0.9


class EncodingError(ValueError):
    """The text is in no encoding that can be told; the message says where and what to do."""


def text_of(data: bytes, encoding: str = "") -> tuple[str, str]:
    """The text and the encoding's name: UTF-8 or UTF-16, with or without mark, GB18030, or the one named."""
    name = encoding or _guess(data)
    try:
        return data.decode(name), name
    except LookupError:
        raise EncodingError(f"`{name}` is no encoding; name one such as gb18030 or cp1252") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"line {line}: byte {error.start} is not {encoding or 'UTF-8'}"
        raise EncodingError(f"{message}; name the file's encoding, such as --encoding cp1252") from None


def _guess(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if b"\0" in data[:4096]:
        # Digits, separators and line ends are ASCII in every table: their zero byte tells the order.
        even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
        return "utf-16-be" if even > odd else "utf-16-le"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030" if _looks_chinese(data) else "utf-8"
    return "utf-8"


def _looks_chinese(data: bytes) -> bool:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    high = paired = position = 0
    while position < len(data):
        if data[position] < 0x80:
            position += 1
            continue
        pair = data[position : position + 2]
        both = len(pair) == 2 and pair[0] >= 0xA1 and pair[1] >= 0xA1
        high, paired, position = high + 1, paired + both, position + 2
    return paired >= MIN_PAIRED * high
