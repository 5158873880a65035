"""The few sentences that the program says itself, in both languages. Knows nothing of when they are said."""

from __future__ import annotations

from lineside.diagnosis.knowledge.entry import Language

_PHRASES: dict[str, tuple[str, str]] = {
    "safety": (
        "Follow the plant's lock-out procedure before reaching into the machine.",
        "接触或伸入设备前，须按工厂规程断电并上锁挂牌。",
    ),
    "safety_function": (
        "A safety function has stopped the machine or is at fault. Never bypass it. The machine stays "
        "stopped until an authorised person has found out why.",
        "安全功能已使设备停机，或其自身有故障，严禁旁路。在授权人员查明原因之前，设备须保持停机。",
    ),
    "safety_stands": (
        "Make sure that the machine stands still and cannot start, and that nobody is in the danger zone.",
        "确认设备已静止且无法启动，危险区域内无人。",
    ),
    "safety_cause": (
        "Find what has tripped and why: a pressed button, an open guard, an interrupted light curtain, a "
        "slack cable, a person.",
        "查明是什么触发、为何触发：按下的按钮、打开的防护门、被遮挡的光幕、松动的电缆或有人进入。",
    ),
    "safety_test": (
        "Where no reason is found, have the safety circuit examined by a person qualified for it.",
        "若找不到原因，请由具备资质的人员检查安全回路。",
    ),
    "quoted": (
        "The manual's own words, quoted and not advised: “{quote}”",
        "以下为手册原文引用，并非建议：“{quote}”",
    ),
    "confirmed": ("Confirmed here on {date}: {quote}", "本厂于 {date} 确认：{quote}"),
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
    "cleared": (
        "The alarm has cleared. Nothing was looked up.",
        "报警已消除，未作诊断。",
    ),
    "acknowledged": (
        "The alarm was acknowledged. Nothing was looked up.",
        "报警已确认，未作诊断。",
    ),
    "listed": (
        "This alarm came together with {alarm} of {device}, the first out on this line: see its diagnosis.",
        "此报警与 {device} 的 {alarm} 同时出现，后者为本线首出报警，请参见其诊断。",
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
    "was_above": (
        "{name} went up to {value} within the window, above its limit of {limit}; it is back within.",
        "{name} 在时间窗内最高达到 {value}，超过上限 {limit}，现已恢复。",
    ),
    "was_below": (
        "{name} went down to {value} within the window, below its limit of {limit}; it is back within.",
        "{name} 在时间窗内最低降到 {value}，低于下限 {limit}，现已恢复。",
    ),
    "mean_too": (
        "{finding} So is its mean over the window, {mean}.",
        "{finding}时间窗内的平均值 {mean} 也越限。",
    ),
    "peak_only": (
        "{finding} Its mean over the window, {mean}, is within.",
        "{finding}时间窗内的平均值 {mean} 未越限。",
    ),
    "moving_up": (
        "{name} is rising: {last} now, {mean} on average over the window.",
        "{name} 正在上升：当前 {last}，时间窗内平均 {mean}。",
    ),
    "moving_down": (
        "{name} is falling: {last} now, {mean} on average over the window.",
        "{name} 正在下降：当前 {last}，时间窗内平均 {mean}。",
    ),
    "order": ("Order of events: {events}.", "事件先后：{events}。"),
    "earlier": (
        "The same device reported before, in this order: {faults}.",
        "同一设备此前依次报告过：{faults}。",
    ),
    "fault_before": ("{fault} {time} before this report", "{fault}（本次报告前 {time}）"),
    "comma": (", ", "，"),
    "first": ("{ref} first", "{ref} 最先"),
    "later": ("{ref} {time} later", "{ref} 在其后 {time}"),
    "before_alarm": ("{ref} {time} before the alarm", "{ref} 在报警前 {time}"),
    "with_alarm": ("{ref} with the alarm", "{ref} 与报警同时"),
    "after_alarm": ("{ref} {time} after the alarm", "{ref} 在报警后 {time}"),
    "seconds": ("{n} s", "{n} 秒"),
    "hours": ("{n} h", "{n} 小时"),
    "minutes": ("{n} min", "{n} 分钟"),
}


def phrase(sentence: str, language: Language, /, **values: object) -> str:
    """The sentence of that name in `language`."""
    return _PHRASES[sentence][language == "zh"].format(**values)


def phrase_parts(sentence: str, language: Language) -> tuple[str, str]:
    """What stands before and after the one value of the sentence of that name."""
    before, _, rest = _PHRASES[sentence][language == "zh"].partition("{")
    return before, rest.partition("}")[2]
