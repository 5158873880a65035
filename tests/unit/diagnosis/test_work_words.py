import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, text

from lineside.diagnosis.work import is_safety_function, kind_of, may_be_suggested, needs_isolation

LOCKOUT = ("Lock out and tag out before working on the fan.",)


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
        ("Measure the motor current.", LOCKOUT, True),
        ("Measure the motor current under load.", LOCKOUT, False),
        ("Measure at the terminals under load.", LOCKOUT, True),
        ("Lengthen the ramp to 3 s.", LOCKOUT, False),
        ("Reset the drive.", LOCKOUT, False),
        ("延长减速时间", ("上锁挂牌后作业",), False),
        ("检查皮带", ("上锁挂牌后作业",), True),
    ],
)
def test_isolation(sentence, safety, isolate):
    assert needs_isolation(sentence, safety) is isolate


@pytest.mark.parametrize(
    "title",
    [
        "Emergency stop pressed",
        "E-stop circuit open",
        "Guard door open",
        "Light curtain interrupted",
        "STO active",
        "Safety relay fault",
        "The Emergency IO of the Control Box is triggered",
    ],
)
def test_safety_functions_in_english(title):
    assert is_safety_function(entry(title=title))


@pytest.mark.parametrize(
    "title", ["急停按钮按下", "安全门打开", "光幕被遮挡", "控制器上的紧急停止IO被触发", "防护门未关"]
)
def test_safety_functions_in_chinese(title):
    assert is_safety_function(entry(title=None, zh=text(title)))


@pytest.mark.parametrize(
    "title", ["Motor overload", "Storage failure", "Encoder lost", "Stop position missed"]
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
    ],
)
def test_a_safety_function_is_not_talked_into_running(sentence):
    assert not may_be_suggested(sentence, safety_function=True)
