"""What a heading that nobody has listed means, by the words that it is made of. Knows no columns.

Every vendor heads his tables in words of his own, from the same few: of what (alarm, fault, 故障), then what
about it (code, cause, 处理). A heading with any other word in it is not guessed at.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple


class Likely(NamedTuple):
    """A field, and whether that is so only in a table of faults that has no other column for it."""

    field: str
    only_if_missing: bool = False


# An "s" may stand behind each.
_WORDS = {
    "subject": """alarm|fault|error|err|event|message|msg|warning|trouble|failure|malfunction|exception
        |abnormality|protection|报警|警报|告警|故障|错误|异常|事件|消息|信息|警告|报错|保护""",
    "code": "code|number|num|nr|no|id|代码|编码|代号|编号|号码|码|号",
    "title": "name|title|text|content|名称|名|标题|内容|文本",
    "kind": "type|类型|类别",
    "display": "display|indication|显示|指示",
    "meaning": """description|desc|meaning|explanation|detail|symptom|phenomenon|描述|说明|含义|意义|现象|解释
        |详情""",
    "causes": "cause|reason|origin|原因|起因|成因",
    "actions": """action|remedy|remedie|solution|measure|countermeasure|troubleshooting|correction|corrective
        |remedial|handling|processing|treatment|elimination|resolution|rectification|check|checkpoint
        |inspection|whattocheck|howtofix|处理|处置|对策|措施|解决|排除|应对|对应|检查|维修|纠正|消除""",
    "severity": "severity|level|priority|等级|级别|严重程度",
    # Behind a cause it only says how to go about that: 故障原因排查.
    "advice": "suggestion|advice|recommendation|排查|建议|意见",
    "way": "method|procedure|step|item|analysis|方法|方式|办法|方案|步骤|项目|分析|指导",
    "kept": """possible|probable|likely|potential|assumed|main|root|common|detailed|recommended
        |suggested|required
        |proposed|totake|short|long|full|operation|operator|panel|keypad|led|hex|dec|十六进制|十进制|可能的|可能|主要
        |常见|详细|具体|推荐|相应|造成|产生|发生|触发|引起
        |面板|键盘|操作|的""",
    "of": "ofthe|of|forthe|for",
    "and": "and|以及|及其|及|与|和|、|&|+",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in re.sub(r"\s", "", words).split("|")}
_KINDS |= {f"{word}s": kind for word, kind in _KINDS.items() if word.isascii()}
_LONGEST = max(map(len, _KINDS))
# Which word says what a heading means: one of the first, else the last of the heads, else one of the others.
_FIRST = ("causes", "actions", "severity")
_HEADS = ("code", "title", "meaning")
_ELSE = {"advice": "actions", "display": "code", "kind": "title", "subject": "title"}
_IF_MISSING = ("display", "kind")
_COUNTS = re.compile(r"(?:number|num|no)of")
# A table's cell may be any length; a heading is short.
MAX_HEADING = 60


@functools.lru_cache(maxsize=4096)
def likely_field(name: str) -> Likely | None:
    """What the heading means, in lower case and without spaces and signs; None: it has other words, too."""
    kinds = _kinds_in(name) if len(name) <= MAX_HEADING else ()
    if not kinds or _COUNTS.match(name):
        return None
    if "of" in kinds:
        # Cause of the fault: what it is about stands before.
        kinds = kinds[: kinds.index("of")]
    found = set(kinds)
    if {"causes", "actions"} <= found:
        # One column of both: a remedy must not be stated as a cause.
        return None
    head = next((kind for kind in reversed(kinds) if kind in _HEADS), "")
    ranked = (*_FIRST, head, *_ELSE)
    kind = next((one for one in ranked if one in found), "")
    return Likely(_ELSE.get(kind, kind), only_if_missing=kind in _IF_MISSING) if kind else None


def _kinds_in(name: str) -> tuple[str, ...]:
    """Of each word, in order, of as few words as make it; none where anything else stands between."""
    best: list[tuple[str, ...] | None] = [(), *[None] * len(name)]
    for end in range(1, len(name) + 1):
        ways = [
            (*before, kind)
            for start in range(max(0, end - _LONGEST), end)
            if (before := best[start]) is not None and (kind := _KINDS.get(name[start:end]))
        ]
        best[end] = min(ways, key=len, default=None)
    return best[-1] or ()
