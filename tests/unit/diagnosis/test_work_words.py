from pathlib import Path

import pytest
import yaml
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval, text

from lineside.diagnosis.rules import answer_by_rules
from lineside.diagnosis.work import is_safety_function, kind_of, may_be_suggested, needs_isolation

LOCKOUT = ("Lock out and tag out before working on the fan.",)
PLANT = Path(__file__).parents[3] / "demo" / "knowledge"


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Replace the fan.", "replace"),
        ("Check the fan and replace it if it is worn.", "inspect"),
        ("Change the drive battery.", "replace"),
        ("Measure the mains voltage.", "measure"),
        ("Reset the drive.", "reset"),
        ("Power-cycle the controller.", "reset"),
        ("Re-enable the robot.", "reset"),
        ("Restart the arm with the button.", "reset"),
        ("Contact technical support.", "inspect"),
        ("更换驱动器", "replace"),
        ("检查接线，必要时更换", "inspect"),
        ("测量三相电压", "measure"),
        ("重新上电", "reset"),
        ("请通过控制器上的紧急停止按钮重启机械臂。", "reset"),
        ("清除报警", "reset"),
        ("清除异物", "inspect"),
        ("Cycle power to the drive.", "reset"),
        ("Clear the axis error.", "reset"),
        ("请重新上下电", "reset"),
        ("Take a sample and have it measured.", "measure"),
        ("取样测定含水量", "measure"),
        ("Test the stop at three places.", "inspect"),
        ("测试停机功能", "inspect"),
    ],
)
def test_the_first_verb_decides(sentence, kind):
    assert kind_of(sentence) == kind


@pytest.mark.parametrize(
    ("sentence", "safety", "isolate"),
    [
        ("Replace the fan.", (), True),
        ("Open the cabinet and look at K1.", (), True),
        ("Check the wiring of the encoder.", (), True),
        ("更换熔断器", (), True),
        ("检查插头", (), True),
        ("断电并上锁后清洁", (), True),
        ("Look at the display.", (), False),
        ("Look at the belt.", LOCKOUT, True),
        ("Measure the motor current under load.", LOCKOUT, False),
        ("Lengthen the ramp to 3 s.", LOCKOUT, False),
        ("Reset the drive.", LOCKOUT, False),
        ("延长减速时间", ("上锁挂牌后作业",), False),
        ("检查皮带", ("上锁挂牌后作业",), True),
    ],
)
def test_isolation(sentence, safety, isolate):
    assert needs_isolation(sentence, safety) is isolate


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Inspect the jaws before the line is started again.", "inspect"),
        ("Before restarting, measure the gap.", "measure"),
        ("Before restarting check the jaws.", "inspect"),
        ("Lock the door before replacing the fan.", "inspect"),
        ("Write the date of the change on the cover.", "inspect"),
        ("Check the replacement date.", "inspect"),
        ("重新启动产线前，检查钳口和进料处有无夹住的产品。", "inspect"),
        ("重新上电前先测量电压。", "measure"),
        ("更换风扇前，复位计数器。", "reset"),
        ("在电池盖上写明更换日期。", "inspect"),
        ("更换当前电池。", "replace"),
    ],
)
def test_what_is_only_named_beside_the_order_decides_nothing(sentence, kind):
    assert kind_of(sentence) == kind


@pytest.mark.parametrize(
    "sentence",
    [
        "Compare both sensors with a dial gauge at the lower end.",
        "Set the guides to product width plus 3 mm.",
        "Inspect the lower jaw for wear.",
        "Check the lower bearing.",
        "Inspect the set screw.",
        "Adjust the chain.",
        "Adjust the limit switch.",
        "Set the time relay to 3 s.",
        "Lower the ram by hand.",
        "Raise the guard and look at the die.",
        "Reduce the gap between the rollers.",
        "Reduce the speed and open the guard.",
        "Clean the rollers, then watch the belt for three turns.",
        "Unplug X5 and measure the motor voltage under load.",
        "Replace the pump if it is loud during operation.",
        "Replace the fan that stops while the motor is running.",
        "Inspect the jaws before the machine is switched on.",
        "Clean the belt, but never while it is running.",
        "Check the chain for damage caused during operation.",
        "Remove the product while the belt is running.",
        "Clean the rollers while the belt is running.",
        "在运行中清洁辊子",
        "Measure the voltage at the heater; it must be 0 V.",
        "Measure the resistance of the motor phases.",
        "Measure the insulation of the motor phases at 500 V.",
        "Check the wiring of the STO inputs.",
        "Check with the moving parts stopped.",
        "Check the LED wiring.",
        "Check the screws of the panel cover.",
        "Compare the gap between the rollers with the limit.",
        "测量三相电机绕组的绝缘电阻",
        "检查 STO 输入接线",
        "检查显示屏接线",
        "检查行程中间位置的导轨",
        "检查设定螺钉",
        "调整链条松紧",
        "调整限位开关",
        "提高防护罩后检查刀片",
        "将导板宽度调为产品宽度加 3 mm。",
        "在下端位置用百分表核对两只传感器。",
        "更换运行时有异响的轴承",
        "若运行时有异响，更换轴承",
        "检查链条，不得在运行时进行",
        "通电前检查钳口",
        "打开盖板并测量带载电压",
    ],
)
def test_hands_that_go_in_need_a_lockout(sentence):
    assert needs_isolation(sentence, LOCKOUT)


@pytest.mark.parametrize(
    "sentence",
    [
        "Clean the fan",
        "Please wipe the rollers dry",
        "Check the filter, then clean it",
        "清洁风扇滤网",
        "请擦拭传感器",
    ],
)
def test_cleaning_needs_a_lockout_where_the_manual_says_nothing_of_it(sentence):
    assert needs_isolation(sentence, ())


@pytest.mark.parametrize(
    "sentence",
    [
        "Check that the air is clean",
        "Start the cleaning cycle",
        "检查清洁度",
    ],
)
def test_what_only_speaks_of_cleaning_needs_none(sentence):
    assert not needs_isolation(sentence, ())


@pytest.mark.parametrize(
    "sentence",
    [
        "Check that the coil of Y1 gets 24 V during the pressing stroke.",
        "Replace the battery with the controller switched on, so that positions are kept.",
        "Measure the brake coil voltage during release.",
        "Measure the mains voltage at terminals L1, L2 and L3 under load.",
        "Listen for the brake to release when the start command is given.",
        "Measure the motor current.",
        "Listen for a dragging brake while joint 2 is jogged at low speed.",
        "Watch the belt for three full turns.",
        "Measure both STO inputs against 0 V; they must change together.",
        "Measure the ambient temperature beside the motor.",
        "While the pump is running, check the seal for leaks.",
        "Check that the fan is running.",
        "Replace the battery without switching the controller off.",
        "Read the loss counter on the display.",
        "Open the parameter menu.",
        "Set the acceleration ramp to 2 s.",
        "Lower the transfer speed to 70 % for light cases.",
        "Please reduce the acceleration value in the settings.",
        "Load the saved parameter set from the memory card.",
        "检查压制行程中 Y1 线圈是否得到 24 V。",
        "在控制器通电状态下更换电池组，以保持位置数据。",
        "松闸时测量抱闸线圈电压。",
        "带载测量端子 L1 处的电网电压。",
        "给出启动命令时，听抱闸是否有松开的动作声。",
        "测量三相电机电流。",
        "低速点动 2 轴，听有无抱闸拖滞声。",
        "以低速观察皮带运行三整圈。",
        "对 0 V 测量两路 STO 输入，二者必须同步变化。",
        "测量电机旁的环境温度。",
        "运行时，检查密封有无泄漏。",
        "在面板上查看哪扇门打开。",
        "读取报文丢失计数。",
        "将加速斜坡时间设为 2 s 或更长。",
        "对轻箱，将搬运速度降到 70 %。",
        "请在运动设置中减少加速度值。",
    ],
)
def test_what_needs_the_machine_live_or_only_a_panel_needs_none(sentence):
    assert not needs_isolation(sentence, LOCKOUT)


def test_the_demo_plants_languages_agree():
    kinds, marks = [], []
    for path in PLANT.glob("*.yaml"):
        for one in yaml.safe_load(path.read_text("utf-8"))["entries"]:
            en, zh = one["en"], one["zh"]
            for english, chinese in zip(en["actions"], zh["actions"], strict=True):
                kinds.append(kind_of(english) == kind_of(chinese))
                safety = (tuple(en.get("safety", ())), tuple(zh.get("safety", ())))
                marks.append(needs_isolation(english, safety[0]) == needs_isolation(chinese, safety[1]))
    assert len(kinds) > 200
    assert sum(kinds) >= 0.95 * len(kinds)
    assert sum(marks) >= 0.95 * len(marks)


@pytest.mark.parametrize(
    "title",
    [
        "Emergency stop pressed",
        "E-stop circuit open",
        "Guard door open",
        "Light curtain interrupted",
        "STO active",
        "Safety relay fault",
        "Door not closed",
        "Gate open",
        "Door 3 is unlocked",
        "Safeguard stop detected",
        "The Emergency IO of the Control Box is triggered",
        "User emergency button pressed",
        "EMG. STOP",
        "SS1 active",
        "SAFETY PLC fault",
        "Two-hand control not simultaneous",
        "Enabling device released",
        "3-position switch released",
        "Safe torque off requested",
        "Laser scanner: protective field violated",
        "Fail-safe module passivated",
    ],
)
def test_safety_functions_in_english(title):
    assert is_safety_function(entry(title=title))


@pytest.mark.parametrize(
    "title",
    [
        "急停按钮按下",
        "安全门打开",
        "光幕被遮挡",
        "控制器上的紧急停止IO被触发",
        "防护门未关",
        "门未关",
        "3 号门打开",
        "门锁未锁",
        "DI紧急刹车",
        "使能装置松开",
        "三位开关松开",
        "安全PLC故障",
        "双手控制不同步",
        "拉绳开关动作",
        "激光扫描仪保护区有人",
    ],
)
def test_safety_functions_in_chinese(title):
    assert is_safety_function(entry(title=None, zh=text(title)))


@pytest.mark.parametrize(
    "title",
    [
        "Motor overload",
        "Storage failure",
        "Encoder lost",
        "Stop position missed",
        "阀门未关",
        "Unsafe area code",
    ],
)
def test_other_functions(title):
    assert not is_safety_function(entry(title=title))


@pytest.mark.parametrize(
    "sentence",
    [
        "Bypass the guard switch.",
        "Jumper terminals 3 and 4.",
        "Bridge out the door contact.",
        "Short the pins of the e-stop.",
        "Override the interlock.",
        "Disable the guard monitoring.",
        "Force the input to 1.",
        "Ignore the alarm.",
        "短接急停输入",
        "跨接端子",
        "将安全门旁路",
        "屏蔽光幕",
        "解除联锁",
        "Bridge terminals 3 and 4.",
        "Bridge X1:3 to X1:4.",
        "Fit a jumper to the input.",
        "Jumper X1:3 to X1:4 to continue.",
        "Put the key switch to service so that the door may stay open.",
        "Tape the door sensor magnet in place.",
        "Hold the enabling switch closed with a cable tie.",
        "Bypass the guard only for service.",
        "Never bypass the guard except for service.",
        "Do not stop the line, bypass the guard.",
        "Do not forget to bypass the guard.",
        "Switch off the light curtain.",
        "将光幕屏蔽",
        "用胶带固定门开关触头",
        "开着门运行",
        "除维修外，严禁旁路安全门",
    ],
)
def test_a_way_round_a_protection_is_never_suggested(sentence):
    assert not may_be_suggested(sentence, safety_function=False)


@pytest.mark.parametrize(
    "sentence",
    [
        "Check the motor cable for a short circuit.",
        "检查屏蔽层接地",
        "检查是否短路",
        "Check the bridge rectifier.",
        "Check the bypass valve.",
        "The jumper is missing.",
        "检查电缆的屏蔽夹",
        "短接片松动",
        "Never bypass the guard.",
        "Never cover, tape over or bypass the curtain.",
        "Do not bridge the STO inputs.",
        "No bypassing of guards.",
        "Bypassing the guard is prohibited.",
        "严禁短接",
        "严禁短接 STO 输入。",
        "不得旁路或屏蔽光幕",
    ],
)
def test_words_that_only_look_like_it(sentence):
    assert may_be_suggested(sentence, safety_function=False)


@pytest.mark.parametrize(
    "sentence",
    [
        "Reset the relay.",
        "Please ground the 2 EIs of the Control Box, and then re-enable the robot",
        "请将控制器的2组EI接地，然后重新使能机械臂",
        "复位急停",
        "Power on again",
        "Release the user emergency stop button",
        "松开急停按钮",
        "Connect the input to 24 V.",
        "Cycle power to the drive.",
        "Press RESET on the panel to restart.",
        "Put the key switch to maintenance.",
        "断电再上电",
        "将输入接到 24 V",
    ],
)
def test_a_safety_function_is_not_talked_into_running(sentence):
    assert not may_be_suggested(sentence, safety_function=True)


@pytest.mark.parametrize(
    "sentence",
    [
        "Find the pressed button and the reason for pressing it.",
        "Check that nobody is inside before a button is released.",
        "The relay has not been reset.",
        "Inspect the jaws before the line is restarted.",
        "释放按钮前，确认围栏内无人。",
        "更换不能自行复位的按钮。",
        "重新启动产线前，检查钳口。",
        "安全继电器未复位。",
    ],
)
def test_at_a_safety_function_a_state_is_no_order(sentence):
    assert may_be_suggested(sentence, safety_function=True)


def test_what_may_not_be_suggested_stays_only_as_a_quotation():
    door = entry(
        title="Drive disabled",
        meaning="The axis stood for 0.5 s. Press RESET on the panel to restart. Ask the shift lead.",
        causes=("The door's hinge is bent.", "Door not closed; jumper X1:3 to X1:4 to continue."),
        actions=("Align the hinge.", "Cycle power to the drive."),
        safety=("Bypass the guard only for service.", "Never bypass the guard."),
    )
    found = answer_by_rules(report(), retrieval("hit", door), "en")
    assert found.meaning == "Drive disabled. The axis stood for 0.5 s. Ask the shift lead."
    assert [cause.text for cause in found.causes] == ["The door's hinge is bent."]
    assert [check.text for check in found.checks] == ["Align the hinge."]
    assert found.safety == ("Never bypass the guard.",)
    for withheld in ("Press RESET", "jumper X1:3", "Cycle power", "only for service"):
        assert withheld in found.evidence[0].quote


def test_an_entry_whose_safety_lines_are_all_withheld_gets_the_general_one():
    jam = entry("1", "Infeed jam", safety=("Bypass the guard only for service.",))
    found = answer_by_rules(report("1"), retrieval("hit", jam), "en")
    assert len(found.safety) == 1
    assert "lock-out" in found.safety[0]
