"""Text to token ids and back, and the chat template. Knows nothing of requests and engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
import jinja2.sandbox
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.decoders import ByteLevel, DecodeStream

from lineside.engine.bundle import CHAT_TEMPLATE, MANIFEST, TOKENIZER, Bundle, BundleError
from lineside.serving.thinking import AFTER_CLOSE, CLOSE, FORCED_CLOSE, OPEN, Marks, begun

# How byte-level tokens are spelt: printable characters stand for themselves, the other bytes, in order, for
# those from U+0100 on.
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = (byte for byte in range(0x100) if byte not in _PRINTABLE)
_BYTES = {0x100 + n: byte for n, byte in enumerate(_OTHERS)}
# The others' own characters spell nothing: they are put where no byte is.
_SPELLING = {byte: 0x100 + byte for byte in _BYTES.values()} | _BYTES


class Tokenizer:
    """A bundle's tokenizer and chat template."""

    def __init__(self, bundle: Bundle) -> None:
        self.file = str(bundle.file(TOKENIZER))
        self.eos = frozenset(bundle.manifest.tokens.eos)
        self._bos = bundle.manifest.tokens.bos
        thinking = bundle.manifest.thinking
        self.thinking_tokens = thinking.tokens if thinking else 0
        try:
            self._tokenizer = HuggingFaceTokenizer.from_file(self.file)
            self.marks = self._marks() if thinking else None
            environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
            self._template = environment.from_string(bundle.file(CHAT_TEMPLATE).read_text("utf-8"))
        # The tokenizers library raises bare Exception.
        except Exception as error:
            hint = f"build it again: lineside-build build {bundle.manifest.name} --output {bundle.path}"
            raise BundleError("load tokenizer", f"{bundle.path}: {error}", hint) from error
        self._special = sorted(
            (
                token.content
                for token in self._tokenizer.get_added_tokens_decoder().values()
                if token.special or token.content in (OPEN, CLOSE)
            ),
            key=len,
            reverse=True,
        )

    @property
    def added_ids(self) -> set[int]:
        """Tokens that were added to those of text: control tokens, marks of tools and thoughts."""
        return set(self._tokenizer.get_added_tokens_decoder())

    def token_bytes(self) -> list[bytes]:
        """What each id stands for, by id; empty where the tokens are not made of bytes."""
        if not isinstance(self._tokenizer.decoder, ByteLevel):
            return []
        added = self._tokenizer.get_added_tokens_decoder()
        found: list[bytes] = []
        for number in range(self._tokenizer.get_vocab_size()):
            token = self._tokenizer.id_to_token(number)
            if number in added:
                found.append(added[number].content.encode())
            elif token is None or (spelt := _bytes_of(token)) is None:
                return []
            else:
                found.append(spelt)
        return found

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, in which control tokens are recognised."""
        ids = self.encode_more(text)
        return ids if self._bos is None else [self._bos, *ids]

    def encode_more(self, text: str) -> list[int]:
        """Ids of `text` behind others: nothing is put in front of it."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return len(self.encode_more(text))

    def chat(self, messages: Iterable[tuple[str, str]], thinking_tokens: int = 0) -> str:
        """The prompt for (role, content) turns. Control tokens inside a content lose their power.

        A reasoning model's thought is begun in it, or closed where `thinking_tokens` is 0.
        """
        turns = [{"role": role, "content": self.disarm(content)} for role, content in messages]
        prompt = self._template.render(
            messages=turns,
            add_generation_prompt=True,
            enable_thinking=thinking_tokens > 0,
            raise_exception=_refuse,
        )
        return begun(prompt, thinking_tokens) if self.marks else prompt

    def thought_tokens(self, budget: int) -> int:
        """The most that a thought of that budget adds to a sequence."""
        return budget + len(self.marks.forced) if self.marks else 0

    def _marks(self) -> Marks:
        start, end = (self._tokenizer.token_to_id(mark) for mark in (OPEN, CLOSE))
        after, forced = (
            tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
            for text in (AFTER_CLOSE, FORCED_CLOSE)
        )
        if start is None or end is None or end not in forced:
            raise ValueError(f"{TOKENIZER} has no tokens {OPEN} and {CLOSE}, {MANIFEST} says that it has")
        return Marks(start, end, after, forced)

    def disarm(self, text: str) -> str:
        """`text` with every control token in it split, so that it is read as text."""
        for token in self._special:
            if token in text:
                text = text.replace(token, token[0] + " " + token[1:])
        return text

    def stream(self) -> TextStream:
        """An incremental decoder for one sequence."""
        return TextStream(self._tokenizer)


class TextStream:
    """Turns ids into text as they come; holds back bytes of characters that are not yet complete."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, ids: Sequence[int]) -> str:
        """Text that became complete."""
        return self.read(ids)[0]

    def read(self, ids: Sequence[int]) -> tuple[str, int]:
        """Text that became complete, and how many of `ids` are in it: those behind are of what comes next."""
        text, read = "", 0
        for count, token in enumerate(ids, start=1):
            if complete := self._stream.step(self._tokenizer, token):
                text, read = text + complete, count
        return text, read


class StopStrings:
    """Watches text for stop strings; holds back an end of it that may be the start of one."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Text that may be shown, and whether a stop string ended it."""
        text = self._held + text
        found = [index for index in (text.find(stop) for stop in self._stop) if index >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held], False

    def flush(self) -> str:
        """What was held back, once nothing more comes."""
        held, self._held = self._held, ""
        return held


def _bytes_of(token: str) -> bytes | None:
    """What a token stands for; None where it is not made of bytes."""
    try:
        return token.translate(_SPELLING).encode("latin-1")
    except UnicodeEncodeError:
        return None


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper prefix of `stop` that `text` ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def _refuse(message: str) -> str:
    raise jinja2.TemplateError(message)
