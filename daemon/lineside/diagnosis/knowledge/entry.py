"""One manual entry: what a code of one unit means, in one or two languages. Knows nothing of files."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from lineside.diagnosis.diagnosis import SeverityName

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

MAX_ITEMS = 32

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


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`source` is the manual's short name, `manual` its title; an empty vendor or model is any."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    code: Key
    unit: Name = ""
    manual: Annotated[str, msgspec.Meta(max_length=300)] = ""
    vendor: Name = ""
    model: Name = ""
    severity: SeverityName | None = None
    en: Text | None = None
    zh: Text | None = None

    @property
    def id(self) -> str:
        """The key under which the entry stands once in a knowledge base."""
        return f"{self.source}:{self.unit}:{self.code}"

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
