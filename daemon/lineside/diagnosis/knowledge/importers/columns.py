"""Which field a column's heading means, in English and Chinese. Knows nothing of rows or files."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers.headings import likely_field

TEXT_FIELDS = ("title", "meaning", "causes", "actions", "safety")

_HEADINGS = {
    "code": """code|codes|
        alarmcode|alarmno|alarmnumber|alarmid|errorcode|errorno|errornumber|faultcode|faultno
        |faultnumber|number|no|id|displaycode|报警号|报警代码|报警码|报警编号|警报号|警报代码|故障号|故障代码|故障码
        |故障编号|错误号|错误代码|错误码|代码|编号|显示代码""",
    "title": """title|name|alarm|alarmname|alarmtext|alarmmessage|message|fault|faultname|error|errorname
        |errormessage|text|alarmtexts|eventtext|事件文本|名称|标题|报警名称|报警内容|报警信息|报警文本|报警|警报名称|故障名称|故障|故障内容
        |故障信息|错误名称|错误信息|错误内容""",
    "meaning": """meaning|description|details|detail|explanation|含义|说明|描述|详细说明|故障说明|报警说明
        |故障描述|故障现象|现象|infotext|helptext|信息文本|帮助文本|tooltip""",
    # An HMI's alarm list: the bit that raises the alarm is its key.
    "trigger_tag": """triggertag|triggervariable|alarmword|wordtag|alarmtag|触发变量|触发器变量|触发标签
        |报警字|报警变量|触发变量名称""",
    "trigger_bit": "triggerbit|triggerbitnumber|alarmbit|bit|bitnumber|触发位|触发器位|报警位|位|位号",
    "causes": """cause|causes|possiblecause|possiblecauses|probablecause|reason|reasons|原因|可能原因
        |故障原因|报警原因|产生原因|原因分析""",
    "actions": """action|actions|remedy|remedies|solution|solutions|correctiveaction|countermeasure
        |countermeasures|troubleshooting|whattodo|measure|measures|措施|处理|处理方法|处理措施|处理对策
        |对策|解决方法|解决办法|解决措施|排除方法|故障排除|处置|纠正措施""",
    "safety": "safety|safetynote|safetynotes|warning|caution|安全|安全注意事项|安全说明|安全提示|注意事项",
    "severity": "severity|level|priority|级别|等级|严重程度|严重度|优先级|故障等级|报警等级|报警级别",
    "vendor": "vendor|manufacturer|maker|brand|厂家|厂商|制造商|生产厂家|品牌",
    "model": "model|series|product|型号|机型|系列|设备型号",
    "unit": "unit|module|controller|component|subsystem|单元|模块|部件|控制器|子系统",
    "firmware": """firmware|firmwareversion|firmwarerange|fw|fwversion|fwrange|softwareversion|固件|固件版本
        |固件范围|软件版本""",
    "source": "source|来源",
    "manual": "manual|document|手册|文档|手册名称",
}
_FIELDS = {
    heading: field
    for field, headings in _HEADINGS.items()
    for heading in re.sub(r"\s", "", headings).split("|")
}
_LIST_NUMBERS = ("no", "number", "id", "编号")
_SUFFIXES: dict[str, Language] = {"en": "en", "english": "en", "英文": "en", "英语": "en"}
_SUFFIXES |= {
    "zh": "zh",
    "cn": "zh",
    "zhcn": "zh",
    "zhhans": "zh",
    "enus": "en",
    "engb": "en",
    "chinese": "zh",
    "中文": "zh",
}
# TIA Portal: `Alarm text [zh-CN], Alarm text 1`; the part behind only repeats.
_LOCALE = re.compile(r"(.+?)\s*\[([a-z]{2,3})(?:-[a-z]{2,4})*\](?:\s*,.*)?")
# Alarm #
_NUMBER_SIGN = re.compile(r"(?<=\w)\s*#\s*$")
_SPLIT = re.compile(r"[\s_\-/.(（\[]+")
_SEVERITIES = {
    "critical": "critical|emergency|fatal|紧急|严重|致命|危急",
    "high": "high|error|alarm|major|高|重要|错误|重故障",
    "medium": "medium|warning|moderate|minor|中|一般|警告|轻故障",
    "low": "low|info|information|notice|低|提示|信息",
}
SEVERITIES = {name: level for level, names in _SEVERITIES.items() for name in names.split("|")}


class Column(NamedTuple):
    """A field, and the language that the heading names (None: it names none)."""

    field: str
    language: Language | None


class Guess(NamedTuple):
    """What a heading is taken for. `sure`: it is one of ours, word for word.

    `only_if_missing`: it counts in a table of faults that has no other column for the field.
    """

    column: Column
    sure: bool = True
    only_if_missing: bool = False


def column_of(heading: str) -> Column | None:
    """The meaning of a heading, such as `Alarm No.` or `处理方法（英文）`; None: not one of ours."""
    guess = guess_of(heading)
    return guess.column if guess and guess.sure else None


def guess_of(heading: str) -> Guess | None:
    """The meaning of a heading, or what its words make likely: `Fault cause`, `错误代码 / Error code`."""
    plain = unicodedata.normalize("NFKC", heading).casefold().strip()
    plain = _NUMBER_SIGN.sub(" no", plain)
    if found := _LOCALE.fullmatch(plain):
        guess, tongue = guess_of(found[1]), _SUFFIXES.get(found[2])
        if guess is None or tongue is None or guess.column.field not in TEXT_FIELDS:
            return None
        return guess._replace(column=Column(guess.column.field, tongue))
    parts = [part for part in _SPLIT.split(_plain(plain)) if part]
    if not parts:
        return None
    language, rest = _language_suffix(parts)
    name = "".join(rest)
    if language is None:
        name, language = _chinese_suffix(name)
    if field := _FIELDS.get(name):
        return Guess(_column(field, language))
    likely = likely_field(name.replace(")", ""))
    return likely and Guess(
        _column(likely.field, language), sure=False, only_if_missing=likely.only_if_missing
    )


def _column(field: str, language: Language | None) -> Column:
    return Column(field, language if field in TEXT_FIELDS else None)


def named_column(name: str) -> Column | None:
    """What `--map NAME=heading` names: `code`, `causes`, `cause.zh`, `title_en`; None: no field."""
    return column_of(name.replace(".", "_"))


def names_a_fault(heading: str) -> bool:
    """Whether a heading of codes says so itself: `Alarm No.` does, `No.` stands over lists of anything."""
    guess = guess_of(heading)
    named = guess is not None and guess.column.field == "code" and not guess.only_if_missing
    return named and _plain(heading) not in _LIST_NUMBERS


def language_of_name(name: str) -> Language | None:
    """`zh_CN`, `English`, `中文`: the language that a key or a heading names and nothing else."""
    language, rest = _language_suffix([part for part in _SPLIT.split(_plain(name)) if part])
    return language if language and not rest else None


def _language_suffix(parts: list[str]) -> tuple[Language | None, list[str]]:
    for size in (2, 1):
        if len(parts) >= size and (language := _SUFFIXES.get("".join(parts[-size:]))):
            return language, parts[:-size]
    return None, parts


def _plain(heading: str) -> str:
    return unicodedata.normalize("NFKC", heading).casefold().strip(" \t*#:.)]）？?'\"\ufeff")


def _chinese_suffix(name: str) -> tuple[str, Language | None]:
    """中文名称 and 原因英文: Chinese headings carry the language without a separator, on either side."""
    for word, language in _SUFFIXES.items():
        if len(word) > 1 and not word.isascii():
            if name.endswith(word) and name != word:
                return name.removesuffix(word), language
            if name.startswith(word) and name != word:
                return name.removeprefix(word), language
    return name, None
