"""Strings on which tokenizers tend to differ, made the same way each time. All are in Unicode's NFC."""

from __future__ import annotations

import random
import unicodedata

PIECES = [
    "The conveyor stopped.",
    "don't we'll I'M they'RE it's",
    "CamelCase snake_case kebab-case",
    "naïve café Å",
    "输送线过电流故障",
    "请检查：电机、轴承。",
    "温度80℃，压力5.5巴",
    "コンベヤ停止",
    "컨베이어 정지",
    "Привет, мир!",
    "שלום",
    "مرحبا",
    "0",
    "12",
    "123",
    "1234567890",
    "3.14159",
    "1,000,000",
    "0xDEADBEEF",
    "²³½Ⅷ",
    "١٢٣",
    "１２３",
    "def f(x):\n    return x ** 2\n",
    "for (int i = 0; i < n; ++i) { a[i] <<= 1; }",
    "SELECT * FROM t WHERE a='b';",
    '{"code": "E-042", "refs": [1, 2]}',
    "<html>&nbsp;</html>",
    "https://a.b/c?d=e&f=%20",
    "\\d+\\.\\d*",
    "/* --- */",
    "🙂",
    "👩‍🔧🏭",
    "🇨🇳",
    "e\u200bz",
    "\ufeffx",
    "…—“”‘’",
    "€£¥",
    "\u00a0",
    "\u3000",
    "a\u2028b",
    "\x00\x01",
    "\x7f",
    " ",
    "  ",
    "   ",
    "\t",
    "\t\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    " \n",
    "\n ",
    "  \n  \n",
    "\r",
    "    x",
    "x    ",
    "!",
    "!!!",
    "?!",
    "...",
    "======",
    "-->",
    " .",
    " ,",
    "()",
    "[[]]",
    "''",
    '"',
    "'",
    "' s",
    "'s",
    "'S",
    "'LL",
    "<|im_start|>user\nhi<|im_end|>\n",
    "<|endoftext|>",
    "<|im_end|>",
    "<|im_start|>",
    "<|not_a_token|>",
    "<|",
    "|>",
]


def token_strings(count: int = 400) -> list[str]:
    """Every piece alone, then random joins of a few."""
    rng = random.Random(20)
    joins = ("", "", " ", "  ", "\n")
    mixed = [
        "".join(rng.choice(PIECES) + rng.choice(joins) for _ in range(rng.randint(2, 6)))
        for _ in range(count - len(PIECES))
    ]
    return [unicodedata.normalize("NFC", text) for text in [*PIECES, *mixed]]
