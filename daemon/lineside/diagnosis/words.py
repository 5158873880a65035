"""The words by which work.py reads what a sentence asks for, in English and Chinese. Decides nothing."""

from __future__ import annotations

import re

from lineside.diagnosis.diagnosis import CheckKind
from lineside.diagnosis.pattern import any_of

# Verbs that give an order: where one follows "and" or "；", another step begins.
_ORDER = (
    "adjust|check|clean|close|compare|disconnect|free|grease|inspect|listen|look|lubricate|measure|open|pull"
    "|reach|read|remove|replace|set|tighten|turn|unplug|unscrew|watch|write"
)
_ORDER_ZH = "检查|确认|测量|清洁|清理|清除|更换|打开|拆|取出|查看|核对|观察|紧固|拧紧|润滑|重新|复位"
STEPS = re.compile(
    rf"(?:[;.]|,? and(?: then)?|,? then) (?:then )?(?=(?:{_ORDER})\b)"
    rf"|[；。]|，?(?:然后|随后)|，?(?:再|并)(?={_ORDER_ZH})",
    re.IGNORECASE,
)
SENTENCES = re.compile(r"(?<=[.!?;])(?=\s)|(?<=[。！？；])")

# What is done before something else says nothing of that other thing; nor do dates and buttons.
BEFORE = re.compile(
    rf"\bbefore (?:you )?\w+[^,;.]*?(?=[,;.]|\b(?:{_ORDER})\b|$)"
    rf"|[^，。；]*(?<![当目提])前(?:[，,]|(?=(?:先|须|应|请|必须)*(?:{_ORDER_ZH})))",
    re.IGNORECASE,
)
NOUNS = re.compile(
    r"\b(?:replacement|exchange|renewal|reset) (?:button|date|interval|key|log|part|record)s?\b"
    r"|(?:更换|复位)(?:日期|周期|间隔|记录|按钮|键|开关)",
    re.IGNORECASE,
)
CONDITION = re.compile(
    r"\b(?:if|unless|until|against|aris\w+|caused|damaged|loosened|occur\w*|worn)\b[^,;.]*"
    r"|\b(?:cannot|nobody|nothing|not?|never|without|stop\w* (?=running|turning|moving))"
    r"(?! (?:switching|turning|powering))\b[^,;.]*"
    r"|(?:若|如果|如)[^，。；]*，|(?:未|不得|不要|停止运|停止转)[^，。；]*|运行[中时](?:产生|造成|出现)",
    re.IGNORECASE,
)
# What describes the part to be replaced or opened, not the machine meanwhile.
RELATIVE = re.compile(r"\b(?:that|which|whose|because)\b[^,;.]*|[^，。；]*的(?=[^，。；]*$)", re.IGNORECASE)
FORBIDDEN = re.compile(
    r"\b(?:never|(?:do|must|may|shall) not|don't|mustn't|(?:forbidden|prohibited) to)"
    r"(?! (?:forget|hesitate|only))"
    r"(?:(?! but | instead )[^,;.])*(?:(?:,[^,;.]*)*,? n?or [^,;.]*)?"
    r"|\bno \w+ing\b[^,;.]*"
    r"|[^,;.]*\b(?:is|are) (?:strictly )?(?:forbidden|prohibited|not (?:allowed|permitted))\b"
    r"|(?:严禁|禁止|不得|切勿|请勿|不要|不允许|绝不|不可(?!用))(?!忘)[^，。；]*",
    re.IGNORECASE,
)
EXCEPTION = re.compile(r"\b(?:except|unless)\b|除非|除[^，。；]*外", re.IGNORECASE)

KINDS: dict[CheckKind, re.Pattern[str]] = {
    "replace": any_of(
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
    "measure": any_of(
        r"""
        measur\w*
        multimeter
        megger
        oscilloscope
        insulation test\w*
        """,
        "测量 测定 实测 万用表 兆欧表 摇表 示波器 测试?绝缘",
    ),
    "reset": any_of(
        r"""
        re-?set\w*
        re-?start\w*
        re-?boot\w*
        re-?power\w*
        re-?enabl\w*
        re-?energi[sz]\w*
        resum\w*
        continu\w* (to run|operation|production|running)
        (power|switch|turn)(ed)? (it )?on again
        power cycl\w*
        cycl(e|ing) (the )?(\w+ )?power
        acknowledg\w*
        clear(ing)? (\w+ ){0,4}(fault|alarm|error|message)s?
        (power|switch|turn)(ed)? (it )?(off|on) and (back )?(on|off)
        (switch|turn)(ed)? (it )?back on
        """,
        "复位 重启 重新启动 重新上下?电 重新使能 (继续|恢复)(运行|生产)"
        " 清除[^，。；]{0,8}(报警|故障|错误|告警|报错) 确认(报警|故障) 断电再上电",
    ),
    "inspect": any_of(
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
        test\w*
        tighten\w*
        verif\w*
        """,
        "检查 检测 检验 测试 查看 确认 确定 核对 观察 排查 查找 清洁 清理 清除 紧固",
    ),
}
LOCKOUT = any_of(
    r"""
    lock(ed|ing)? ?out
    tag(ged)? ?out
    loto
    isolat\w* (the|from|and)
    de-?energi[sz]\w*
    disconnect\w* (the |from )?(the )?(mains|power|supply)
    (switch|turn)(ed)? off the (main|mains|power|supply)
    """,
    "上锁 挂牌 锁定电源 (?<!不)切断电源 断电后 隔离电源 停电",
)
# Hands go in, whatever else the sentence says.
OPENS = any_of(
    r"""
    disassembl\w*
    disconnect\w*
    dismantl\w*
    free (a|any|the)
    greas(e|ing)
    lubricat\w*
    (?<!is )(?<!are )(?<!be )(?<!stays )open(ing)?(?! the (\w+ )?(log|menu|page|recipe|screen))
    reach(ing)? in\w*
    remov\w*
    re-?wir\w*
    solder\w*
    tension(ing)? the
    tighten\w*
    unplug\w*
    unscrew\w*
    """,
    "打开(?![，。；]|$|[^，。；]{0,6}(菜单|页面|画面|界面|参数|日志)) [将把][^，。；]*打开 拆 拔"
    " (?<!否)紧固(?!件) (?<!否)拧紧 伸手 润滑 张紧绳",
)
# Where hands go in unless only a value is read there.
INSIDE = any_of(
    r"""
    cabinet
    fuses?
    plugs?
    tension\w*
    terminals?
    wiring(?! diagram)
    """,
    "接线(?!图) 端子 电柜 控制柜 熔断器 保险丝 插头 张紧 拧紧 紧固",
)
# Where a hand touches, movement is no reason to leave the machine unlocked.
TOUCHES = any_of(
    r"""
    brush(ing)?
    by hand
    clean\w*
    touch\w*
    wip(e|ing)
    """,
    "清洁 清理 擦拭 用手",
)
# An order to clean is one to touch, whether or not the manual speaks of lock-out.
CLEANS = any_of("clean\nwipe\nbrush", "清洁 清理 擦拭", starts=True)
# What is asked for is only there while the machine has power: locking out would defeat the purpose.
POWERED = any_of(
    r"""
    under load
    (while|with|when) ([\w']+ ){1,5}(energi[sz]ed|live(?! part)|powered|(power|switch|turn)ed (on|up))
    while (energi[sz]ed|live|powered)
    with (the )?power on
    without (powering|switching|turning) ([\w']+ ){0,3}off
    """,
    "带载(?!能力) 通电状态 (?<![断未])通电(?:时|情况下) 带电(?:测量|状态|情况下) 不断电",
)
_MOVING = "(enabled|jogg(ed|ing)|moving|running|turning)"
_CARRIER = "(coil|control|line|loop|mains|motor|phase|supply)"
_AT_REST = "absence|continuity|discharg|insulation|residual|resistance"
_AT_REST_ZH = r"电阻|绝缘|通断|放电|残余|无电|应为\s?0\s?V"
# What is asked for is only there while the machine moves or may move, or carries voltage.
LIVE = any_of(
    rf"""
    (while|with|when|as) ([\w']+ ){{0,5}}{_MOVING}(?=$|[,.;]| (at|by|in|on|and|to)\b)
    (check|see|sure|verify) (that |whether )?([\w']+ ){{0,5}}(is|are) {_MOVING}
    during (the )?([\w-]+ ){{0,3}}(acceleration|cycle|movement|operation|release|run|running|start|stroke)
    jog(ged|ging)?(?! (button|key|lever|wheel))
    at (jog|low|slow) speed
    (when|while|on) (a|the) (start|run) command
    fans? (run|spin|turn)s?(?! freely)
    watch .*\bturns
    (?<!the )teach(?! (box|button|pendant))
    measure .*\b(ambient temperature|stopping time|sto inputs?)(?! (sensor|wiring))
    test (the |each |every )?([\w-]+ ){{0,3}}(brake|curtain|interlock|stop|zone)(?! (coil|disc|lining|pad))
    (carry out|perform|repeat) .*\bbrake test
    (measure|compare)(?!.*({_AT_REST}|\b0 v\b)) .*\b{_CARRIER} (current|voltage)s?
    measure (?!.*({_AT_REST})).*\b((mains|supply) phases|supply at)
    (measure|compare) the (current|output) of
    """,
    r"运[行转](?:中|时(?!间)) 行程中(?!间) 松闸时 (?<!未)点动(?!按钮|键|手柄|开关) 启动命令时 以低速"
    r" 是否都?在(运行|转动) 观察[^，。；]*运行 重新示教 ^请?示教(?![器盒]) 抱闸测试 逐区测试"
    r" 测量[^，。；]*(停止时间|环境温度(?!传感器)|STO\s?输入)"
    r" 测试[^，。；]*(停机|光幕|联锁|抱闸(?!线圈|片|盘))"
    rf" (测量|比较)(?![^。；]*({_AT_REST_ZH}))"
    r"[^，。；]*(电网|电机|线圈|回路|三相|[A-Z]\d+|加热棒的)\s?(电压|电流|电源)"
    r" 测量[^，。；]*(编码器|模块)电源",
)
_VALUE = (
    r"(acceleration|baud rate|current|delay|gain|limit|mode|parameter|password|payload|ramp|recipe"
    r"|set-?point|setting|speed|temperature|threshold|time|time-?out|value|parameter set)s?"
)
_PREPOSITION = "about|above|at|below|between|by|for|from|if|in|near|of|on|or|to|until|when|with"
_VALUE_ZH = (
    "(参数组?|速度|加速度|时间|斜坡|配方|温度|限值|上限|下限|增益|延时|负载|模式|波特率|设定值|阈值|系数)值?"
)
_SET_ZH = "(设置|设定|设|延长|缩短|增大|减小|减少|增加|降低|提高|调整|调|选择|输入|载入|下调|上调|降)"
_SET = "adjust|change|decrease|enter|increase|lengthen|load|lower|raise|reduce|select|set|shorten"
_OBJECT = rf"( (?!({_PREPOSITION})\b)[\w'-]+){{0,5}}"
# A parameter is set at the panel; guides and chains are set by hand.
SETS = any_of(
    rf"""
    ({_SET}){_OBJECT} {_VALUE}(?= ({_PREPOSITION}|and|again|so)\b|[,.;:]|$)
    """,
    rf"([^，。；]{{1,12}}，)?[将把][^，。；]{{0,12}}{_VALUE_ZH}(都|再)?{_SET_ZH}"
    rf" (从[^，。；]{{1,8}}|在[^，。；]{{1,10}}[中上里])?(正确|重新|适当)*的?"
    rf"{_SET_ZH}[^，。；]{{0,10}}{_VALUE_ZH}(?=[到至为，。；\s]|$)",
    starts=True,
)
_SHOWN = "counter|display|log|menu|page|panel|screen"
READS = any_of(
    rf"""
    read
    (note|record|write)( down)?
    open the (\w+ )?(log|menu|page|recipe|screen)
    (compare|watch) .*\bon the ([\w'-]+ ){{0,4}}({_SHOWN})s?
    (check|look at) the ([\w'-]+ ){{0,4}}(led|lights?|{_SHOWN})s?(?=$|[,.;]| (for|if|of|on|to|whether)\b)
    compare .*\b(gain set|parameters?|recipe|set payload)
    compare the ([\w'-]+ ){{0,2}}(load|rate|speed|temperature|time) with the limit
    """,
    "读取 记录(?!仪) [^，。；]*写明 在[^，。；]*(页面|面板|显示屏|画面|菜单)上?(读取|查看|比较|核对)"
    " 打开[^，。；]{0,6}(菜单|页面|画面|界面|日志)"
    " (查看|检查)[^，。；]*(指示灯|显示屏?|计数器?|日志|页面|画面|菜单)(?=[，。；]|$)"
    " 将[^，。；]*(参数|设定负载|配方|载荷|节拍|(速度|温度|时间)(?!传感器|继电器))[^，。；]*(对比|核对)",
    starts=True,
)
