"""The words by which work.py reads a manual's sentence, in English and Chinese. Decides nothing itself."""

from __future__ import annotations

import re

from lineside.diagnosis.diagnosis import CheckKind


def _any(english: str, chinese: str, *, starts: bool = False) -> re.Pattern[str]:
    """Any of the phrases: one a line in English, one a word in Chinese. `starts`: at the very beginning."""
    phrases = [re.sub(r" +", r"[- ]", line.strip()) for line in english.strip().splitlines()]
    words = rf"\b(?:{'|'.join(phrases)})\b|{'|'.join(chinese.split())}"
    return re.compile(rf"^\W*(?:please |请)?(?:{words})" if starts else words, re.IGNORECASE)


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
        "测量 测定 实测 万用表 兆欧表 摇表 示波器 测试?绝缘",
    ),
    "reset": _any(
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
        test\w*
        tighten\w*
        verif\w*
        """,
        "检查 检测 检验 测试 查看 确认 确定 核对 观察 排查 查找 清洁 清理 清除 紧固",
    ),
}
LOCKOUT = _any(
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
OPENS = _any(
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
INSIDE = _any(
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
TOUCHES = _any(
    r"""
    brush(ing)?
    by hand
    clean\w*
    touch\w*
    wip(e|ing)
    """,
    "清洁 清理 擦拭 用手",
)
# What is asked for is only there while the machine has power: locking out would defeat the purpose.
POWERED = _any(
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
LIVE = _any(
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
SETS = _any(
    rf"""
    ({_SET}){_OBJECT} {_VALUE}(?= ({_PREPOSITION}|and|again|so)\b|[,.;:]|$)
    """,
    rf"([^，。；]{{1,12}}，)?[将把][^，。；]{{0,12}}{_VALUE_ZH}(都|再)?{_SET_ZH}"
    rf" (从[^，。；]{{1,8}}|在[^，。；]{{1,10}}[中上里])?(正确|重新|适当)*的?"
    rf"{_SET_ZH}[^，。；]{{0,10}}{_VALUE_ZH}(?=[到至为，。；\s]|$)",
    starts=True,
)
_SHOWN = "counter|display|log|menu|page|panel|screen"
READS = _any(
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

SAFETY_FUNCTION = _any(
    r"""
    dead man'?s? (handle|switch)
    e-?stop\w*
    em(er)?g(ency)?\W{0,2}stop\w*
    emergency (brak\w*|button|circuit|halt|input|io|off|power off|push ?button|shut ?(down|off)|stop|switch)
    emo
    enabl(e|ing) (button|device|switch|pendant)
    fail ?safe (cpu|controller|function|input|module|plc)
    (safe)?guard\w*
    interlock\w*
    (laser|area) scanner
    light (barrier|curtain|grid)
    muting
    protective (door|field|stop)
    pull (cord|rope|wire) (switch|stop)
    rope pull
    safe (brake|cam|direction|limited|operat\w+|speed|stand ?still|stop|torque)( \w+)?
    safety
    (sto|ss1|ss2|sos|sls|sbc|sdi)\d?
    (three|3) (position|state) (enabl\w*|switch)
    two\W?hand(ed)?
    (cover|door|gate|hatch|hood)s? (\w*\d+ )?((are|has been|is|was|were) )?(ajar|open(ed)?)
    (cover|door|gate|hatch|hood)s? (\w*\d+ )?((are|has been|is|was|were) )?(not |un-?)(closed|locked|shut)
    open (door|gate)
    """,
    "急停 紧急停 紧急制动 紧急刹车 紧急按钮 紧急开关 紧急断电 紧急输入 安全 防护门 护栏 光幕 光栅 光电保护"
    " 激光扫描 区域扫描 防护罩 双手 联锁 保护性停止 保护停止 拉绳 使能开关 使能装置 使能按钮 三位使能"
    " 三位开关 三态开关 故障安全"
    " (?<!阀)门锁?(仍|尚)?(未|没有?)(关|锁|闭) (?<!阀)门被?(打开|开启|开着)",
)
_PROTECTION = (
    "(the |both |all |this |that )?([a-z]+ )?"
    "(e-?stop|curtain|door|gate|guard|interlock|light|monitor\\w*|protect\\w*|safety|scanner)"
)
_SENSED = "(actuator|button|curtain|door|guard|lever|magnet|sensor|switch)"
BYPASS = _any(
    rf"""
    by-?pass(ed|es|ing)?(?! (capacitor|contactor|diode|filter|valve)s?\b(?! monitor))
    bridg(e|ing) (across|both|contacts?|inputs?|it|out|over|pins?|terminals?|the|[\w:]*\d[\w:]*)
    defeat\w*
    (deactivat|disabl|mask|suppress)\w* {_PROTECTION}
    (switch|turn)(ing)? off (the )?(curtain|guard|interlock|light curtain|safety)
    forc(e|ing) the (contact|input|output|signal)
    ignor\w* the (alarm|guard|interlock|safety)
    (?<!the )(?<!a )(?<!missing )jumper(ed|ing)?
    (connect|fit|insert|install|place|put|use) (a |the )?jumpers?
    (?<!speed )(?<!feed )overrid\w*
    (?<!a )(?<!the )short(ing)? (across|both|out|pins?|terminals?|the|together)
    (?<!a )short circuit(ing)? (both|pins?|terminals?|the)
    tap(e|ing) (down|over)
    (glue|tape|tie|wedge) (a|an|both|the) .{{0,30}}{_SENSED}\w*
    (fix|hold|secure)(ing)? .{{0,30}}{_SENSED}\w* .{{0,20}}with (a )?(cable tie|tape|wire)
    (loose|spare|second) (actuator|magnet)
    (door|gate|guard|cover)s? (can|could|may|might|to|will) (be (kept|left)|remain|stay) open
    (keep|leav|prop)(e|ing)? the (\w+ )?(door|gate|guard) open
    (operat|produc|run)\w* .{{0,30}}with the (\w+ )?(cover|door|gate|guard) open
    """,
    "短接(?![线片插帽件]) [加用装插][^，。；]{0,4}(短接|跨接)[线片] 跨接(?!线)"
    " 旁路(?!阀(?!监)|接触器|电容|过滤)"
    " (?<!未)屏蔽(掉|了)?(该|此)?[^，。；层线网夹传时]{0,4}(光幕|光栅|安全|门|报警|急停|联锁|保护)"
    " [将把][^，。；]{1,12}屏蔽(?![层线网夹])"
    " (取消|解除|关闭|停用)(安全|防护|联锁|保护|光幕|门锁) 强制(输入|输出|信号|接通) 忽略(报警|安全|联锁)"
    " (胶带|胶布|扎带|铁丝)[^，。；]{0,20}(传感器|开关|磁铁|触头|按钮|门|光幕)"
    " (传感器|开关|磁铁|触头|按钮|光幕)[^，。；]{0,8}(胶带|胶布|扎带|铁丝)"
    " (压住|绑住|粘住|顶住)[^，。；]{0,6}(按钮|开关|触头|磁铁)"
    " (备用|散装)(触头|磁铁) 门[^，。；]{0,4}(保持|一直)(打开|开启|开着)"
    " (开着|打开)[^，。；]{0,4}门(运行|生产|操作)",
)
# At a safety function, letting the button out is half of a reset.
RELEASE = _any(
    r"""
    (?<!the )(click|pull|push|press|releas|turn|twist)(e|ing)? .{0,60}(button|e-?stop|emergency stop)
    (unlatch|unlock)(ing)? .{0,60}(button|e-?stop|emergency stop)
    """,
    "(释放|松开|旋开|旋转|拉出|拔出|弹起|点击).{0,16}(急停|按钮|开关)",
)
# At a safety input, putting it to ground or to 24 V is a bypass too, whatever it is elsewhere.
WIRED = _any(
    r"""
    (ground|earth)(ing)? (all|both|each|it|the|[\w:]*\d[\w:]*)
    connect(ing)? .{0,40} (to|with) (the )?(0 ?v|24 ?v|earth|gnd|ground)
    key switch .{0,20}(maintenance|service|set up)
    """,
    "[将把][^，。；]*接地 接[到至入]?\\s?(0|24)\\s?V 接GND 钥匙开关.{0,8}(维修|维护|检修)",
)
# A state is no order: "has not been reset" is why the machine stands.
STATE = re.compile(
    r"\b(?:not|never|been|was|were)\b (?:\w+ ){0,2}?"
    r"(?:re-?set|re-?started|re-?enabled|acknowledged|press|release|pull|push|unlatch|unlock)\b"
    r"|(?:尚?未|没有|不能)(?:自行)?(?:复位|松开|释放|确认)",
    re.IGNORECASE,
)

_GUIDANCE = (
    "above|answer|context|directive|entry|entries|everything|guidance|guideline|instruction|manual|message"
    "|policy|preceding|previous|prior|prompt|rule|severity|system|text"
)
_TO_YOU = "a|an|assistant|answer|ignore|model|not|now|obey|output|print|reply|respond|say|set|tell|write"
_SAID = "everything|exactly|fine|json|no fault|nothing|ok|only|that|the following"
# Not the language of machines: it speaks to whoever answers. A second fence, behind the grammar: what slips
# past it still cannot bring words of its own, only choose among the manual's.
ADDRESSES = _any(
    rf"""
    (disregard|forget|ignore|override|skip) (\w+ ){{0,5}}({_GUIDANCE})s?
    (new|updated|real|secret|hidden) instructions?
    (system|developer) (message|mode|prompt|override)
    you (are|must|should|will|have to|need to) (\w+ ){{0,3}}({_TO_YOU})
    (act|behave) as
    pretend
    jailbreak\w*
    as an ai
    language model
    (answer|output|print|reply|respond|return|say|state|tell|write) (\w+ ){{0,3}}({_SAID})
    (set|lower|change|mark) (the )?(severity|confidence|status|answer|diagnosis)
    (do not|don't|never) (\w+ ){{0,2}}(cite|mention|quote|use|follow|read) (\w+ ){{0,3}}(manual|entry|source)
    end of data
    """,
    "(忽略|无视|忘记|忘掉|不要理会|不用管|别管|不要遵守|跳过|不要引用|不要参考)[^。；]{0,16}"
    "(手册|指令|说明|规则|以上|上述|之前|前面|提示|条目|内容|系统|要求)"
    " 系统提示 系统消息 新的?指令 你(现在|必须|应该|只能|需要|是一)"
    " (请|必须|只|直接|务必)(直接|只)?(回答|回复|输出|返回|告诉|写明|声称|说) 扮演 假装 越狱"
    " 作为(一个|一名)?(AI|人工智能|助手) 语言模型 数据结束"
    " (将|把)?(严重程度|严重性|严重级别|置信度|可信度|诊断结果?)(设|改|降|调|标)[^。]{0,4}(为|成|到|低)",
)
