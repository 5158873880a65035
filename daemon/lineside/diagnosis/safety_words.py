"""The words of functions that protect people, and of what defeats them. Decides nothing."""

from __future__ import annotations

import re

from lineside.diagnosis.pattern import any_of

SAFETY_FUNCTION = any_of(
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
BYPASS = any_of(
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
RELEASE = any_of(
    r"""
    (?<!the )(click|pull|push|press|releas|turn|twist)(e|ing)? .{0,60}(button|e-?stop|emergency stop)
    (unlatch|unlock)(ing)? .{0,60}(button|e-?stop|emergency stop)
    """,
    "(释放|松开|旋开|旋转|拉出|拔出|弹起|点击).{0,16}(急停|按钮|开关)",
)
# At a safety input, putting it to ground or to 24 V is a bypass too, whatever it is elsewhere.
WIRED = any_of(
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
