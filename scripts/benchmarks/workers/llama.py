"""llama.cpp as a peer, through its C API. Runs in the peer's environment.

`llama.py MODEL THREADS LENGTH SEQUENCES` answers commands.

`llama.py quantise SOURCE TARGET TYPE` writes a file in another of its types by its own quantiser.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import time
from typing import Any

import llama_cpp as lib
import numpy as np
from protocol import serve

BATCH = 512
TYPES = {"q4_0": 2, "q4_1": 3, "q8_0": 7}
# Of a guided answer: the tokens that it picks are shorter than those that its length was reckoned from.
LONGER = 2
CANDIDATE = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
_QUIET = lib.llama_log_callback(lambda *_: None)


class Llama:
    """One model and one context of `sequences` sequences, each of `length` tokens at most."""

    def __init__(self, path: str, threads: int, length: int, sequences: int) -> None:
        self.model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        options = lib.llama_context_default_params()
        options.n_ctx, options.n_seq_max = length * sequences, sequences
        options.n_batch = options.n_ubatch = BATCH
        options.n_threads = options.n_threads_batch = threads
        self.context = lib.llama_init_from_model(self.model, options)
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.size = lib.llama_vocab_n_tokens(self.vocab)
        self.memory = lib.llama_get_memory(self.context)
        self.batch = lib.llama_batch_init(BATCH, 0, 1)
        self.cached: list[int] = []
        self.kept: list[tuple[list[int], Any]] = []  # tokens, and the cache's state of them
        self.candidates = np.zeros(self.size, CANDIDATE)

    def run(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """A prompt, then greedy tokens."""
        self.clear()
        begun_s = time.perf_counter()
        self.extend(ids, 0)
        picked = [self.best()]
        prefilled_s = time.perf_counter()
        for place in range(len(ids), len(ids) + tokens):
            self.extend(picked[-1:], place)
            picked.append(self.best())
        ended_s = time.perf_counter()
        return {"prefill_s": prefilled_s - begun_s, "decode_s": ended_s - prefilled_s, "tokens": picked}

    def batched(self, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """Prompts one after another into sequences of their own, then one greedy token of each a step."""
        self.clear()
        begun_s = time.perf_counter()
        picked = []
        for sequence, ids in enumerate(prompts):
            self.extend(ids, 0, sequence)
            picked.append(self.best())
        prefilled_s = time.perf_counter()
        for step in range(tokens - 1):
            self.batch.n_tokens = len(prompts)
            for sequence, ids in enumerate(prompts):
                self._place(sequence, picked[sequence], len(ids) + step, sequence, wanted=True)
            self._decode()
            picked = [self.best(sequence) for sequence in range(len(prompts))]
        return {"prefill_s": prefilled_s - begun_s, "decode_s": time.perf_counter() - prefilled_s}

    def loss(self, windows: list[list[int]]) -> dict[str, Any]:
        """Sum of negative log probabilities of every token of each window but its first."""
        total, count = 0.0, 0
        for ids in windows:
            self.clear()
            for begin in range(0, len(ids) - 1, BATCH):
                part = ids[begin : begin + BATCH]
                self.extend(part, begin, every=True)
                following = ids[begin + 1 : begin + 1 + len(part)]
                logits = np.stack([self.logits(row) for row in range(len(following))]).astype(np.float64)
                top = logits.max(axis=-1)
                normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
                total += float((normaliser - logits[np.arange(len(following)), following]).sum())
                count += len(following)
        return {"loss": total, "count": count}

    def guided(self, prompt: str, json_schema: str, tokens: int) -> dict[str, Any]:
        """The answer that a schema allows: greedy; all tokens are tried only where the likeliest fails.

        It may take LONGER, so that it is whole. What the cache holds of the prompt from the last call, or was
        read ahead of it, is used again.
        """
        begun_s = time.perf_counter()
        grammar = lib.llama_sampler_init_grammar(self.vocab, grammar_of(json_schema), b"root")
        ids = self.tokenize(prompt)
        kept = self.reuse(ids[:-1])
        self.extend(ids[kept:], kept)
        first_s, text, steps = 0.0, b"", 0
        place = len(ids)
        for _ in range(LONGER * tokens):
            token = self.allowed(grammar)
            first_s = first_s or time.perf_counter() - begun_s
            lib.llama_sampler_accept(grammar, token)
            steps += 1
            if lib.llama_vocab_is_eog(self.vocab, token):
                break
            text += self.piece(token)
            if complete(text):
                break
            self.extend([token], place)
            place += 1
        lib.llama_sampler_free(grammar)
        self.cached = ids
        answer = {"answer_s": time.perf_counter() - begun_s, "first_s": first_s, "steps": steps}
        return {**answer, "cached": kept, "prompt_tokens": len(ids), "text": text.decode(errors="replace")}

    def ahead(self, one: str, other: str) -> dict[str, Any]:
        """Read what both prompts begin with, and keep the cache's state of it."""
        first, second = self.tokenize(one), self.tokenize(other)
        ids = first[: common(first, second)]
        kept = self.reuse(ids[:-1])
        self.extend(ids[kept:], kept)
        self.cached = ids
        state = (ctypes.c_uint8 * lib.llama_state_seq_get_size(self.context, 0))()
        lib.llama_state_seq_get_data(self.context, state, len(state), 0)
        self.kept.append((ids, state))
        return {"tokens": len(ids)}

    def reuse(self, ids: list[int]) -> int:
        """Leave in the cache what it holds of the beginning of `ids`, or a state that was kept does."""
        held = common(self.cached, ids)
        best = max(self.kept, key=lambda one: common(one[0], ids), default=None)
        if best is not None and common(best[0], ids) > held:
            held = common(best[0], ids)
            lib.llama_memory_clear(self.memory, True)
            lib.llama_state_seq_set_data(self.context, best[1], len(best[1]), 0)
        lib.llama_memory_seq_rm(self.memory, 0, held, -1)
        return held

    def allowed(self, grammar: Any) -> int:
        """The likeliest token that the grammar takes."""
        logits = self.logits(-1)
        best = int(logits.argmax())
        one = np.array([(best, logits[best], 0.0)], CANDIDATE)
        self._apply(grammar, one)
        if np.isfinite(one["logit"][0]):
            return best
        candidates = self.candidates
        candidates["id"], candidates["logit"], candidates["p"] = np.arange(self.size), logits, 0.0
        self._apply(grammar, candidates)
        return int(candidates["id"][candidates["logit"].argmax()])

    @staticmethod
    def _apply(grammar: Any, candidates: Any) -> None:
        data = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
        lib.llama_sampler_apply(grammar, ctypes.byref(array))

    def extend(self, ids: list[int], place: int, sequence: int = 0, *, every: bool = False) -> None:
        """Append tokens at `place`; logits of the last one, or of every one where they fit one batch."""
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            self.batch.n_tokens = len(part)
            for index, token in enumerate(part):
                last = begin + index == len(ids) - 1
                self._place(index, token, place + begin + index, sequence, wanted=every or last)
            self._decode()

    def _place(self, index: int, token: int, place: int, sequence: int, *, wanted: bool) -> None:
        batch = self.batch
        batch.token[index], batch.pos[index], batch.logits[index] = token, place, wanted
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence

    def _decode(self) -> None:
        if lib.llama_decode(self.context, self.batch):
            raise RuntimeError("llama_decode failed")

    def logits(self, row: int) -> Any:
        """Logits [vocabulary] of a row of the last batch."""
        return np.ctypeslib.as_array(lib.llama_get_logits_ith(self.context, row), shape=(self.size,))

    def best(self, row: int = -1) -> int:
        """The likeliest token."""
        return int(self.logits(row).argmax())

    def clear(self) -> None:
        """Forget everything."""
        lib.llama_memory_clear(self.memory, True)
        self.cached = []

    def tokenize(self, text: str) -> list[int]:
        """Tokens of a text in which special tokens stand as themselves."""
        data = text.encode()
        tokens = (lib.llama_token * (len(data) + 8))()
        count = lib.llama_tokenize(self.vocab, data, len(data), tokens, len(tokens), False, True)
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """A token's bytes."""
        buffer = ctypes.create_string_buffer(256)
        # Its content is copied only once it is written.
        length = lib.llama_token_to_piece(self.vocab, token, buffer, 256, 0, False)
        return buffer.raw[:length]


def complete(text: bytes) -> bool:
    """Whether it is a whole JSON document: nobody waits for what might follow."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def common(before: list[int], after: list[int]) -> int:
    """How many tokens two begin with."""
    for index, (one, other) in enumerate(zip(before, after)):  # noqa: B905 (the shorter one ends it)
        if one != other:
            return index
    return min(len(before), len(after))


def grammar_of(json_schema: str) -> bytes:
    """The schema in llama.cpp's own grammar language, by its own converter.

    Without the spaces that it allows between JSON's tokens: each is a step more, and ours writes none.
    """
    return without_spaces(
        str(lib.LlamaGrammar.from_json_schema(json_schema, verbose=False)._grammar)
    ).encode()


def without_spaces(grammar: str) -> str:
    """The same rules, with none of what may stand between tokens. Raises ValueError where that is no rule."""
    compact, count = re.subn(r"^space ::= .*$", 'space ::= ""', grammar, flags=re.MULTILINE)
    if count != 1:
        raise ValueError("llama.cpp's converter has other rules for spaces than it had")
    return compact


def quantise(source: str, target: str, kind: str) -> None:
    """Write a file in another type."""
    options = lib.llama_model_quantize_default_params()
    options.ftype, options.allow_requantize = TYPES[kind], True
    if lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options)):
        raise SystemExit(f"llama.cpp could not write {target}")


def main() -> None:
    """See the module."""
    lib.llama_backend_init()
    lib.llama_log_set(_QUIET, ctypes.c_void_p(0))
    if sys.argv[1] == "quantise":
        quantise(*sys.argv[2:5])
        return
    path, *sizes = sys.argv[1:5]
    llama = Llama(path, *map(int, sizes))
    names = ("run", "batched", "loss", "guided", "ahead")
    serve({name: getattr(llama, name) for name in names}, version=lib.__version__)


if __name__ == "__main__":
    main()
