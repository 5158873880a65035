"""One manual entry: what a code of one unit means, in one or two languages. Knows nothing of files."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from lineside.diagnosis.diagnosis import SeverityName

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

MAX_ITEMS = 32
# Entries that approved verdicts have become; no import may replace them.
PLANT_SOURCE = "plant"

Name = Annotated[str, msgspec.Meta(max_length=128)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Items = Annotated[tuple[Sentence, ...], msgspec.Meta(max_length=MAX_ITEMS)]


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The entry's own words in one language; an item for each cause and action that can be told apart."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    meaning: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    causes: Items = ()
    actions: Items = ()
    safety: Items = ()


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """That this was found to be so here: the person who approved it, when, and of which verdict it came."""

    by: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    at: Annotated[str, msgspec.Meta(min_length=10, max_length=40, description="RFC 3339")]
    verdict: Name = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`source` is the manual's short name, `manual` its title; an empty vendor, model or firmware is any.

    `firmware` is a range (firmware.py). `variant` parts entries of one source, unit and code that are for
    different vendors, models or firmware. `confirmed` is set on what the plant itself has found out.
    """

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    code: Key
    unit: Name = ""
    manual: Annotated[str, msgspec.Meta(max_length=300)] = ""
    vendor: Name = ""
    model: Name = ""
    firmware: Name = ""
    variant: Name = ""
    confirmed: Confirmation | None = None
    severity: SeverityName | None = None
    en: Text | None = None
    zh: Text | None = None

    @property
    def id(self) -> str:
        """The key under which the entry stands once in a knowledge base."""
        variant = f"@{self.variant}" if self.variant else ""
        return f"{self.source}:{self.unit}:{self.code}{variant}"

    @property
    def kind(self) -> Literal["manual", "confirmed"]:
        """Whose word it is: the manual's, or the plant's own."""
        return "manual" if self.confirmed is None else "confirmed"

    @property
    def citation(self) -> str:
        """How answers name it."""
        return f"{self.source}#{self.code}"

    @property
    def texts(self) -> tuple[Text, ...]:
        """The languages that there are."""
        return tuple(text for text in (self.en, self.zh) if text is not None)

    def text(self, language: Language) -> Text:
        """The entry in `language`, else in the other one: a manual in a foreign language beats none."""
        text = (self.zh or self.en) if language == "zh" else (self.en or self.zh)
        assert text is not None, "the importers refuse entries without text"
        return text
