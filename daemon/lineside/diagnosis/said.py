"""The schema's words and headings as people read them, in both languages. Knows nothing of layout."""

from __future__ import annotations

import unicodedata

from lineside.diagnosis.diagnosis import Diagnosis

_WORDS = {
    "safety": ("Safety", "安全"),
    "cause": ("Cause", "可能原因"),
    "causes": ("Possible causes", "可能原因"),
    "checks": ("Checks", "检查步骤"),
    "evidence": ("Evidence", "依据"),
    "isolate": ("⚠ lock out first", "⚠先断电上锁"),
    "advisory": ("Advisory: a qualified person decides.", "仅供参考，由具备资质的人员判断。"),
    "confidence": ("confidence", "可信度"),
    "knowledge": ("knowledge", "知识库"),
    "model": ("model", "模型"),
    "seconds": ("s", "秒"),
}
# What a diagnosis says in the words of its schema. An answer of a newer daemon may hold others.
_CHINESE = {
    "critical": "紧急",
    "high": "高",
    "medium": "中",
    "low": "低",
    "inspect": "检查",
    "measure": "测量",
    "reset": "复位",
    "replace": "更换",
    "rules": "规则",
    "abstain": "不作诊断",
    "error": "出错",
    "no_kb_hit": "手册无相符条目",
    "conflict": "多条手册条目相符",
    "low_conf": "把握不足",
    "grouped": "与同线其他报警归为一组",
    "invalid": "报告无效",
    "too_long": "报告过长",
    "not_found": "未找到",
    "unauthenticated": "未验证身份",
    "forbidden": "无权限",
    "overload": "负载过高",
    "power": "供电受限",
    "deadline": "超出时限",
    "unreachable": "时限内无法完成",
    "expired": "报告已过期",
    "cancelled": "已取消",
    "draining": "服务正在停止",
    "not_ready": "服务未就绪",
    "engine_fault": "模型引擎故障",
    "storage": "存储故障",
    "poison": "此报告曾使服务中断",
    "internal": "内部错误",
}
# Controls, signs that cannot be seen, halves of signs, ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def word(diagnosis: Diagnosis, name: str) -> str:
    """A heading, in the diagnosis' language."""
    return _WORDS[name][diagnosis.lang == "zh"]


def said(diagnosis: Diagnosis, name: str) -> str:
    """One of the schema's words, as the reader says it."""
    return _CHINESE.get(name, name) if diagnosis.lang == "zh" else name


def clean(text: str) -> str:
    """One line, without control characters: a report must not be able to steer what shows it."""
    return "".join(" " if unicodedata.category(sign) in _UNSEEN else sign for sign in text).strip()
