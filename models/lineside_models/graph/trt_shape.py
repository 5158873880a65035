"""The static shape of one TensorRT graph. Knows no decoder and no device."""

from __future__ import annotations

from typing import Literal

import msgspec

from lineside_models.errors import BuildError

Role = Literal["step", "chunk"]
CHUNK_ROWS = 8


class TrtShape(msgspec.Struct, frozen=True):
    """Role and sizes. `step`: one token of each of `batch` sequences; `chunk`: `tokens` tokens of one.

    `rows` is the number of positions whose logits come out. `max_seq_len` is the cache's length.
    """

    role: Role
    batch: int
    tokens: int
    rows: int
    max_seq_len: int

    @classmethod
    def step(cls, batch: int, max_seq_len: int) -> TrtShape:
        """One token of each of `batch` sequences, with all their logits."""
        return cls("step", batch, 1, batch, max_seq_len)

    @classmethod
    def chunk(cls, tokens: int, max_seq_len: int, rows: int = CHUNK_ROWS) -> TrtShape:
        """`tokens` tokens of one sequence, with the logits of `rows` of them."""
        return cls("chunk", 1, tokens, rows, max_seq_len)

    def __post_init__(self) -> None:
        for name in ("batch", "tokens", "rows", "max_seq_len"):
            if getattr(self, name) < 1:
                self._refuse(f"{name} is {getattr(self, name)}", "every size is at least 1")
        if self.role == "step" and (self.tokens, self.rows) != (1, self.batch):
            sizes = f"tokens {self.tokens}, rows {self.rows}"
            self._refuse(f"a step of batch {self.batch} has {sizes}", "use TrtShape.step(batch, max_seq_len)")
        if self.role == "chunk" and self.batch != 1:
            self._refuse(f"a chunk has batch {self.batch}", "a chunk belongs to one sequence")
        if self.tokens > self.max_seq_len:
            message = f"{self.tokens} tokens do not fit max_seq_len {self.max_seq_len}"
            self._refuse(message, "choose a smaller chunk or a larger --max-seq-len")

    @property
    def positions(self) -> int:
        """Tokens in one call, of all sequences."""
        return self.batch * self.tokens

    def _refuse(self, message: str, hint: str) -> None:
        raise BuildError("lower for TensorRT", message, hint)
