"""Patterns of phrases in English and Chinese. Knows no phrase."""

from __future__ import annotations

import re


def any_of(english: str, chinese: str, *, starts: bool = False) -> re.Pattern[str]:
    """Any of the phrases: one a line in English, one a word in Chinese. `starts`: at the very beginning."""
    phrases = [re.sub(r" +", r"[- ]", line.strip()) for line in english.strip().splitlines()]
    words = rf"\b(?:{'|'.join(phrases)})\b|{'|'.join(chinese.split())}"
    return re.compile(rf"^\W*(?:please |请)?(?:{words})" if starts else words, re.IGNORECASE)
