"""What a manual's sentence asks for, read off its words in English and Chinese. Knows no entries' storage.

A wrong `isolate` can cost a hand, so where words leave room it is set.
"""

from __future__ import annotations

import re

from lineside.diagnosis.diagnosis import CheckKind
from lineside.diagnosis.knowledge.entry import Entry


def _any(english: str, chinese: str) -> re.Pattern[str]:
    """Any of the words and phrases, one a line in English, one a word in Chinese."""
    phrases = [re.sub(r" +", r"[- ]", line.strip()) for line in english.strip().splitlines()]
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b|{'|'.join(chinese.split())}", re.IGNORECASE)


_KINDS: dict[CheckKind, re.Pattern[str]] = {
    "replace": _any(
        r"""
        replac\w*
        exchang\w*
        swap\w*
        renew\w*
        fit (a|the) (new|spare)
        install (a )?new
        change the (\w+ )?(battery|bearing|cable|contactor|fan|filter|fuse|hose)
        change the (\w+ )?(module|motor|oil|relay|seal|sensor|thermocouple)
        """,
        "更换 替换 换装 换上 换新 换下 调换",
    ),
    "measure": _any(
        r"""
        measur\w*
        multimeter
        megger
        oscilloscope
        insulation test\w*
        """,
        "测量 测试 实测 万用表 兆欧表 摇表 示波器 测绝缘",
    ),
    "reset": _any(
        r"""
        re-?set\w*
        re-?start\w*
        re-?boot\w*
        re-?power\w*
        re-?enabl\w*
        re-?energi[sz]\w*
        (power|switch|turn)(ed)? (it )?on again
        power cycl\w*
        acknowledg\w*
        clear(ing)? (the )?(fault|alarm|error|message)
        (switch|turn)(ed)? (it )?(off|on) and (back )?(on|off)
        (switch|turn)(ed)? (it )?back on
        """,
        "复位 重启 重新启动 重新上电 重新使能 清除(报警|故障|错误|告警) 确认(报警|故障)",
    ),
    "inspect": _any(
        r"""
        check\w*
        clean\w*
        confirm\w*
        ensure\w*
        examin\w*
        find
        inspect\w*
        look
        make sure
        tighten\w*
        verif\w*
        """,
        "检查 检测 查看 确认 确定 观察 排查 查找 清洁 清理 清除 紧固",
    ),
}
_SETTING = _any(
    r"""
    adjust
    decrease
    enter
    increase
    lengthen
    load the
    lower
    parameter\w*
    raise
    reduce
    select
    set
    shorten
    teach
    """,
    "设置 设定 参数 延长 缩短 增大 减小 降低 提高 调整 示教 选择",
)
# What is only there while the machine runs cannot be looked at with the machine locked out.
_RUNNING = _any(
    r"""
    under load
    while (it|the \w+) (is )?(run|turn)\w*
    during operation
    with the \w+ running
    """,
    "带载 运行时 运行中 运转时",
)
_LOCKOUT = _any(
    r"""
    lock(ed|ing)? ?out
    tag(ged)? ?out
    loto
    isolat\w* (the|from|and)
    de-?energi[sz]\w*
    """,
    "上锁 挂牌 锁定电源 切断电源 断电后 隔离电源 停电",
)
_OPENS = _any(
    r"""
    cabinet
    disassembl\w*
    disconnect\w*
    dismantl\w*
    free (a|any|the)
    fuses?
    grease
    lubricat\w*
    open(ing)?
    reach(ing)? in\w*
    remov\w*
    re-?wir\w*
    solder\w*
    tension\w*
    terminals?
    tighten\w*
    unplug\w*
    unscrew\w*
    wiring
    """,
    "打开 拆 拔 接线 端子 电柜 控制柜 熔断器 保险丝 紧固 拧紧 插头 伸手 润滑 张紧",
)
_SAFETY_FUNCTION = _any(
    r"""
    e-?stop\w*
    emergency (stop|io|input|off|brak\w*)
    enabling (device|switch)
    guard\w*
    interlock\w*
    light (curtain|grid)
    muting
    protective stop
    safe torque off
    safety (chain|circuit|controller|door|fence|function|gate|input|light|loop|mat|relay|switch)
    sto\d?
    two hand
    """,
    "急停 紧急停止 紧急制动 安全门 防护门 光幕 光栅 安全继电器 安全回路 安全电路 安全输入 安全控制 安全转矩"
    " 防护罩 双手 联锁 保护性停止",
)
_BYPASS = _any(
    r"""
    by-?pass\w*
    bridg(e|ing) (across|both|out|over|the)
    defeat\w*
    disabl\w* (the )?(e-?stop|guard|interlock|light|monitor\w*|protect\w*|safety)
    forc(e|ing) the (contact|input|output|signal)
    ignor\w* the (alarm|guard|interlock|safety)
    jumper\w*
    overrid\w*
    short(ing)? (across|both|out|pins?|terminals?|the|together)
    short circuit(ing)? (both|pins?|terminals?|the)
    tap(e|ing) down
    """,
    "短接 跨接 旁路 屏蔽(?![层线网电双接]) (取消|解除)(安全|防护|联锁|保护) 强制(输入|输出|信号|接通)",
)
# At a safety function, letting the button out is half of a reset.
_RELEASE = _any(
    r"""
    (click|pull|push|press|release|turn|twist|unlatch|unlock)\w* .{0,60}(button|e-?stop|emergency stop)
    """,
    "(释放|松开|旋开|旋转|拉出|拔出|弹起|点击).{0,16}(急停|按钮|开关)",
)
# At a safety input, putting it to ground or to 24 V is a bypass too, whatever it is elsewhere.
_WIRED = _any(
    r"""
    ground(ed|ing)?
    earth(ed|ing)?
    connect\w* .{0,40} (to|with) (the )?(0 ?v|24 ?v|earth|gnd|ground)
    """,
    "接地 接到?(0|24)V 接GND",
)


def kind_of(sentence: str) -> CheckKind:
    """What is to be done first: the earliest verb tells; inspecting where none does."""
    # Of verbs at one place, such as 清除 and 清除报警, the kind that stands first above wins.
    found = ((match.start(), kind) for kind, verbs in _KINDS.items() if (match := verbs.search(sentence)))
    return min(found, key=lambda pair: pair[0], default=(0, "inspect"))[1]


def needs_isolation(sentence: str, safety: tuple[str, ...]) -> bool:
    """Whether the machine has to be locked out for it."""
    if _LOCKOUT.search(sentence) or _KINDS["replace"].search(sentence) or _OPENS.search(sentence):
        return True
    if _RUNNING.search(sentence) or not any(_LOCKOUT.search(note) for note in safety):
        return False
    hands_off = kind_of(sentence) == "reset" or _SETTING.search(sentence)
    return not hands_off or _KINDS["measure"].search(sentence) is not None


def is_safety_function(entry: Entry) -> bool:
    """Whether the entry is of a function that protects people."""
    return any(_SAFETY_FUNCTION.search(f"{text.title} {text.meaning}") for text in entry.texts)


def may_be_suggested(sentence: str, *, safety_function: bool) -> bool:
    """Nothing that defeats a protection; and for a safety function, nothing that only makes it run again."""
    if _BYPASS.search(sentence):
        return False
    return not (
        safety_function and any(words.search(sentence) for words in (_KINDS["reset"], _RELEASE, _WIRED))
    )


def suggests_bypass(sentence: str) -> bool:
    """Whether it names a way round a protection."""
    return _BYPASS.search(sentence) is not None
