"""Guided decoding: which tokens a JSON Schema allows next. Knows nothing of models and of requests."""

from __future__ import annotations

import llguidance
import llguidance.numpy
import numpy as np
from numpy.typing import NDArray

from lineside.errors import Reason, RejectedError
from lineside.serving.tokenizer import Tokenizer

MAX_SCHEMA_BYTES = 16_384
MAX_MESSAGE = 500
# Beginnings of a string for which it is known in advance which tokens fit. Of llguidance's own those for
# whitespace and for strings without bound are left out: they take 6 MB of 49,000 tokens, and quicken nothing.
SLICES = (r'[^"\\\x00-\x1F\x7F]{1,10}', r'[^"\\\x00-\x1F\x7F]{1,30}')


class GrammarCompiler:
    """Makes a matcher for each request; holds the vocabulary, which is parsed once."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos: tuple[int, ...]) -> None:
        words = _Words(tokenizer, vocab_size)
        # Given the file, llguidance would hold a second tokenizer: 14 MB of 49,000 tokens, 48 of 152,000.
        self._vocabulary = llguidance.LLTokenizer(
            words if words.tokens else tokenizer.file,
            n_vocab=vocab_size,
            eos_token=list(eos),
            slices=list(SLICES),
        )
        words.tokens = []

    def compile(self, json_schema: str) -> Grammar:
        """A matcher at its start. Raises RejectedError(INVALID or TOO_LONG) for an unusable schema."""
        if len(json_schema.encode()) > MAX_SCHEMA_BYTES:
            message = f"json_schema has more than {MAX_SCHEMA_BYTES} bytes"
            raise RejectedError(Reason.TOO_LONG, message, field="json_schema")
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(json_schema)
        except ValueError as error:
            raise RejectedError(
                Reason.INVALID, f"json_schema: {error}"[:MAX_MESSAGE], field="json_schema"
            ) from None
        matcher = llguidance.LLMatcher(self._vocabulary, grammar)
        if matcher.is_error():
            message = f"json_schema: {matcher.get_error()}"
            raise RejectedError(Reason.INVALID, message[:MAX_MESSAGE], field="json_schema")
        return Grammar(matcher, self._vocabulary.vocab_size)


class _Words(llguidance.TokenizerWrapper):
    """The tokenizer that is there already, as llguidance asks for one."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.is_tokenizer_wrapper = True
        self.eos_token_id = min(tokenizer.eos)
        self.bos_token_id = None
        known = tokenizer.token_bytes()
        # No text is made of added tokens, nor of what a model has beyond its tokenizer.
        unused = range(len(known), vocab_size)
        self.tokens = known and [*known, *(f"<[{number}]>".encode() for number in unused)]
        self.special_token_ids = [*sorted(tokenizer.added_ids), *unused]
        self._encode = tokenizer.encode_more

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


class Grammar:
    """One request's place in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._mask = llguidance.numpy.allocate_token_bitmask(1, vocab_size)

    @property
    def complete(self) -> bool:
        """No token may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> NDArray[np.bool_]:
        """Which of all ids may come next, [vocab_size]; never none before `complete`."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask)
        self._check()
        bits = np.unpackbits(self._mask.view(np.uint8), count=self._vocab_size, bitorder="little")
        return bits.view(np.bool_)

    def accept(self, token: int) -> None:
        """The sequence goes on with `token`, which must be allowed."""
        accepted = self._matcher.consume_token(token)
        self._check()
        assert accepted, f"token {token} was not allowed"

    def fits(self, tokens: list[int]) -> int:
        """How many of `tokens`, from the first on, may come next; nothing is accepted."""
        fitting: int = self._matcher.validate_tokens(tokens)
        return fitting

    def take_forced(self) -> list[int]:
        """Tokens that must come next, already accepted; empty where there is a choice."""
        forced: list[int] = self._matcher.compute_ff_tokens()
        self._check()
        for token in forced:
            self.accept(token)
        return forced

    def _check(self) -> None:
        """Raises RejectedError(INVALID) once the grammar has gone over a limit of the parser's."""
        if self._matcher.is_error():
            message = f"json_schema is too complex: {self._matcher.get_error()}"
            raise RejectedError(Reason.INVALID, message[:MAX_MESSAGE], field="json_schema")
