"""The few sentences that the program says itself, in both languages. Knows nothing of when they are said."""

from __future__ import annotations

from lineside.diagnosis.knowledge.entry import Language

_PHRASES: dict[str, tuple[str, str]] = {
    "safety": (
        "Follow the plant's lock-out procedure before reaching into the machine.",
        "接触或伸入设备前，须按工厂规程断电并上锁挂牌。",
    ),
    "safety_function": (
        "A safety function has stopped the machine. Never bypass it. Find out why it tripped, and reset it "
        "only from where the whole danger zone can be seen.",
        "安全功能已使设备停机，严禁旁路。须查明触发原因，并在能看清整个危险区域的位置由授权人员复位。",
    ),
    "no_hit": (
        "The manuals hold no entry that fits this report.",
        "手册中没有与此报告相符的条目。",
    ),
    "conflict": (
        "Several manual entries fit this report: {titles}. "
        "Vendor, model or unit of the device would tell them apart.",
        "有多条手册条目与此报告相符：{titles}。请补充设备的厂家、型号或单元以便区分。",
    ),
    "undecided": (
        "None of the manual entries found fits this report well enough.",
        "找到的手册条目均与此报告不够相符。",
    ),
    "error": ("The report could not be answered.", "无法回答此报告。"),
    "above": ("{name} is {value}, above its limit of {limit}.", "{name} 为 {value}，高于上限 {limit}。"),
    "below": ("{name} is {value}, below its limit of {limit}.", "{name} 为 {value}，低于下限 {limit}。"),
    "rising": (
        "{name} is rising and reaches its limit of {limit} in about {time}.",
        "{name} 正在上升，约 {time} 后达到上限 {limit}。",
    ),
    "falling": (
        "{name} is falling and reaches its limit of {limit} in about {time}.",
        "{name} 正在下降，约 {time} 后达到下限 {limit}。",
    ),
    "bad_quality": (
        "{name} reports quality {quality}: its value is not to be trusted.",
        "{name} 的数据质量为 {quality}，数值不可信。",
    ),
    "from_manual": ("Answered from the manual: {why}.", "依据手册回答：{why}。"),
    "no_engine": ("no engine is running", "没有可用的模型"),
    "no_time": ("the deadline is too near", "时限太近"),
    "no_choice": ("the entry leaves nothing to rank", "该条目无需排序"),
    "no_language": ("the model does not know the language {language}", "模型不懂此语言（{language}）"),
    "unreadable": ("the model's answer could not be read", "无法读取模型的回答"),
    "seconds": ("{n} s", "{n} 秒"),
    "minutes": ("{n} min", "{n} 分钟"),
}


def phrase(sentence: str, language: Language, /, **values: object) -> str:
    """The sentence of that name in `language`."""
    return _PHRASES[sentence][language == "zh"].format(**values)
