"""What often comes of what, on any machine: events in a log, and how manuals word their effects.

A log seldom has the manual's words for what went before a fault: it tells of a washdown, the manual of water.
Knows no plant, no entry and no code.
"""

from __future__ import annotations

from lineside.diagnosis.knowledge.entry import Text
from lineside.diagnosis.pattern import any_of

# Somebody has changed something: what fails next has often to do with it.
CHANGE = any_of(
    r"""
    adjusted
    change(d|over|s)?
    commission(ed|ing)
    exchanged?
    fitted
    install(ed|ation)
    new (?!(alarm|day|job|message|order|shift|value|week)s?)
    rebuil[dt]
    refitted
    replaced?
    swapped
    """,
    "更换 更新 变更 改[为成用] 安装 新装 换[新上装成为型产] 调整",
)
# Each with what may come of it.
_RELATIONS = {
    "wet": (
        any_of(
            r"""
            clean(ed|er|ing)
            flood\w*
            hos(ed|ing) down
            leaking roof
            rain\w*
            rins\w*
            roof leak\w*
            spray\w*
            wash\w*
            wet
            """,
            "清洁 清洗 冲洗 冲水 喷淋 喷水 喷洒 水枪 雨 进水 漏水",
        ),
        any_of(
            r"""
            condens\w*
            corro\w*
            damp\w*
            friction
            humid\w*
            moist\w*
            rust\w*
            slips?
            slipping
            water
            wet
            """,
            "潮 进水 积水 凝露 冷凝 腐蚀 锈 摩擦力 打滑 湿",
        ),
    ),
    "dust": (
        any_of("dust\\w*\nflour\npowder\nsanding\nsawing", "粉尘 灰尘 扬尘 打磨 锯"),
        any_of("blocked\nclog\\w*\ncontaminat\\w*\ndirt\\w*\ndust\\w*", "堵 脏 污 粉尘 积灰 灰尘"),
    ),
    "work": (
        any_of(
            r"""
            adjust\w*
            change(d|over|s)?
            commission(ed|ing)
            exchang\w*
            install(ed|ation)
            maintenance
            overhaul\w*
            rebuil[dt]
            refitted
            repair\w*
            replac\w*
            serviced
            swapped
            """,
            "更换 检修 维修 修理 保养 拆装 安装 调整 调试 换[新上装成为型产]",
        ),
        any_of(
            r"""
            (after|during) ([\w']+ )?(repairs?|work|maintenance|service)
            badly
            incorrect\w*
            misaligned
            mixed up
            not (re)?(filled|fitted|tightened)
            off cent(er|re)
            parameters?
            set for
            topped up
            wrong\w*
            """,
            "错误 接错 装错 装反 检修后 维修后 检修时 维修时 未(拧紧|紧固|复位|按|补) 不良 参数 偏心",
        ),
    ),
    "mains": (
        any_of(
            r"""
            blackout
            lights? (\w+ )?flicker\w*
            lightning
            power (cut|failure|loss|outage)
            thunder\w*
            """,
            "停电 雷[电击雨暴] 打雷",
        ),
        any_of("grid\nmains\nphases?\nsupply", "电网 电源 缺相"),
    ),
    "heat": (
        any_of(
            "air condition\\w*\nheat ?wave\nhot (day|spell|summer|weather)\nsun(light|ny|shine)?",
            "空调 高温天 炎热 天热 暴晒 日晒",
        ),
        any_of("ambient\ncool\\w*\nroom\nsun(light|shine)?\nventilat\\w*", "环境 通风 散热 冷却 日晒 阳光"),
    ),
    "impact": (
        any_of(
            r"""
            bumped
            collid\w*
            collision
            crash(ed)? (against|into|with)
            (fork ?lift|pallet|truck) (\w+ ){0,3}(hit|ran into|struck)
            struck
            """,
            "碰撞 撞 叉车",
        ),
        any_of(
            r"""
            bent
            bowed
            broken
            collid\w*
            crack\w*
            damaged
            deform\w*
            displaced
            misaligned
            not square
            shifted
            """,
            "弯 变形 损坏 断裂 裂 错位 移位 碰撞",
        ),
    ),
    "noise": (
        any_of(
            r"""
            (grinding|knocking|loud|unusual) nois\w*
            rattl\w*
            squeal\w*
            squeak\w*
            vibrat\w*
            """,
            "异响 噪声 噪音 啸叫 尖叫 吱 振动",
        ),
        any_of(
            r"""
            bearings?
            cavitat\w*
            dry
            loose\w*
            lubricat\w*
            stiff
            unbalanced?
            worn
            """,
            "轴承 气蚀 缺油 松动 润滑 卡涩 不平衡 磨损",
        ),
    ),
    "leak": (
        any_of(
            "drip\\w*\ndrops of\noil on the (floor|ground)\npuddles?",
            "滴漏 滴油 油滴 油迹 油渍 地面有油 漏油",
        ),
        any_of("leak\\w*\nlevel\nlost oil\noil lost\nseals?", "漏 泄 渗 油位 密封"),
    ),
    "idle": (
        any_of(
            r"""
            (days?|months?|weeks?) (of )?(shutdown|standstill)
            frost
            holidays?
            idle for
            (plant|long) shutdown
            weekend
            winter
            """,
            "停产 停机[^，。；]{0,4}(天|周|月) 长假 春节 周末 霜冻 冬[天季] 严寒",
        ),
        any_of(
            "batter\\w*\ncold\nfr(ee|o)z\\w*\nviscos\\w*\nwithout (power|use|voltage)",
            "长期 长时间 低温 冷 冻 粘度 黏度",
        ),
    ),
    "load": (
        any_of(
            r"""
            faster
            heavier
            (load|rate|speed) (increased|raised|up)
            (increased|raised) (load|rate|speed)
            """,
            "(速[度率]|节拍|负[载荷])[^，。；]{0,4}(提高|提升|加快|增加|加大)"
            " (提高|提升|加快|增加)[^，。；]{0,4}(速|节拍|负[载荷]) 提速 加重",
        ),
        any_of(
            r"""
            above nominal
            heavy
            overload\w*
            too (close|fast|heavy|high a (rate|speed)|quick\w*)
            """,
            "过载 超载 过重 过快 太快 太重 间距过小",
        ),
    ),
}


def events_in(line: str) -> frozenset[str]:
    """The kinds of events that a log line tells of."""
    return frozenset(name for name, (event, _) in _RELATIONS.items() if event.search(line))


def effects_apart(text: Text) -> tuple[frozenset[str], ...]:
    """For each of an entry's causes, the kinds that speak for it and not for the title or every cause."""
    said = _effects(f"{text.title} {text.meaning}")
    effects = [frozenset(name for name, _ in _effects(cause) - said) for cause in text.causes]
    common = frozenset[str]().union(*effects).intersection(*effects)
    return tuple(own - common for own in effects)


def _effects(sentence: str) -> set[tuple[str, str]]:
    """The kinds of events of which what it says may come, each with the words that say so."""
    return {
        (name, found.group().casefold())
        for name, (_, effect) in _RELATIONS.items()
        for found in effect.finditer(sentence)
    }
