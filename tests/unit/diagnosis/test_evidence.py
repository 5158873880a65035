import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, report, text

from lineside.diagnosis.evidence import log_evidence, sensor_evidence
from lineside.diagnosis.report import Stats, Value, Window


def sensors(language="en", **fields):
    return [(one.ref, one.src, one.quote) for one in sensor_evidence(report(**fields), language)]


def window(name, last, slope):
    return Window(n=name, stats=Stats(last=last, slope=slope))


@pytest.mark.parametrize(
    ("value", "language", "quote"),
    [
        (Value(n="j2", v=71.2, u="Cel", hi=65), "en", "j2 is 71.2 °C, above its limit of 65 °C."),
        (Value(n="j2", v=71.2, u="Cel", hi=65), "zh", "j2 为 71.2 °C，高于上限 65 °C。"),
        (Value(n="p", v=-3, u="bar", lo=0), "en", "p is -3 bar, below its limit of 0 bar."),
        (Value(n="p", v=1, u="bar", lo=2), "zh", "p 为 1 bar，低于下限 2 bar。"),
        (Value(n="p", v=1, hi=5, q="bad"), "en", "p reports quality bad: its value is not to be trusted."),
    ],
)
def test_values_beyond_their_limits(value, language, quote):
    assert sensors(language, values=(value,)) == [("S1", value.n, quote)]


@pytest.mark.parametrize(
    "value",
    [
        Value(n="a", v=5, hi=5, lo=5),
        Value(n="a", v=5),
        Value(n="a", v=4, lo=3, hi=5, q="GOOD"),
        Value(n="a", v=4, hi=5, q="192"),
    ],
)
def test_values_within_are_no_evidence(value):
    assert sensors(values=(value,)) == []


def test_a_value_of_bad_quality_is_beyond_nothing():
    assert "quality" in sensors(values=(Value(n="a", v=99, hi=5, q="bad"),))[0][2]


@pytest.mark.parametrize(
    ("last", "slope", "limits", "quote"),
    [
        (60, 0.1, {"hi": 65}, "t is rising and reaches its limit of 65 °C in about 50 s."),
        (60, 0.01, {"hi": 65}, "t is rising and reaches its limit of 65 °C in about 8 min."),
        (60, -0.1, {"lo": 55}, "t is falling and reaches its limit of 55 °C in about 50 s."),
    ],
)
def test_a_trend_towards_a_limit(last, slope, limits, quote):
    value = Value(n="t", v=60, u="Cel", **limits)
    assert sensors(values=(value,), win=(window("t", last, slope),)) == [("S1", "t", quote)]


@pytest.mark.parametrize(
    ("last", "slope", "limits"),
    [
        (60, -0.1, {"hi": 65}),
        (60, 0.0, {"hi": 65}),
        (60, None, {"hi": 65}),
        (None, 1, {"hi": 65}),
        (60, 1e-5, {"hi": 65}),
        (60, 0.1, {}),
        (60, 1e-320, {"hi": 1e300}),
    ],
)
def test_a_trend_that_leads_nowhere_soon(last, slope, limits):
    value = Value(n="t", v=60, **limits)
    assert sensors(values=(value,), win=(window("t", last, slope),)) == []


def test_a_window_without_its_value_nor_mean_says_nothing():
    assert sensors(win=(window("t", 1, 1),)) == []


def windowed(**stats):
    return (Window(n="t", stats=Stats(**stats)),)


@pytest.mark.parametrize(
    ("value", "stats", "quote"),
    [
        (
            Value(n="t", v=60, u="Cel", hi=65),
            {"max": 72.0},
            "t went up to 72 °C within the window, above its limit of 65 °C; it is back within.",
        ),
        (
            Value(n="t", v=60, lo=50),
            {"min": 41.0},
            "t went down to 41 within the window, below its limit of 50; it is back within.",
        ),
        (
            Value(n="t", v=70, hi=65),
            {"mean": 66.0},
            "t is 70, above its limit of 65. So is its mean over the window, 66.",
        ),
        (
            Value(n="t", v=70, hi=65),
            {"mean": 60.0},
            "t is 70, above its limit of 65. Its mean over the window, 60, is within.",
        ),
        (
            Value(n="t", v=40, lo=50),
            {"mean": 45.0},
            "t is 40, below its limit of 50. So is its mean over the window, 45.",
        ),
        (
            Value(n="t", v=9, u="A"),
            {"last": 9.0, "mean": 7.0, "slope": 0.01},
            "t is rising: 9 A now, 7 A on average over the window.",
        ),
    ],
)
def test_statistics_of_a_window_against_limits(value, stats, quote):
    assert sensors(values=(value,), win=windowed(**stats)) == [("S1", "t", quote)]


def test_a_signal_that_moves_says_so_without_a_reading_too():
    found = sensors("zh", win=windowed(last=3.0, mean=5.0, slope=-0.1))
    assert found == [("S1", "t", "t 正在下降：当前 3，时间窗内平均 5。")]


@pytest.mark.parametrize(
    "stats",
    [
        {"last": 7.2, "mean": 7.0, "slope": 0.01},
        {"last": 9.0, "mean": 7.0, "slope": -0.01},
        {"last": 9.0, "mean": 7.0},
        {"max": 65.0, "min": 50.0},
    ],
)
def test_noise_is_no_movement(stats):
    assert sensors(values=(Value(n="t", v=60, hi=65, lo=50),), win=windowed(**stats)) == []


def test_the_worst_comes_first_and_four_are_enough():
    values = tuple(Value(n=f"s{n}", v=100 + n, hi=100) for n in range(10))
    found = sensors(values=values)
    assert [name for _, name, _ in found] == ["s9", "s8", "s7", "s6"]
    assert [ref for ref, _, _ in found] == ["S1", "S2", "S3", "S4"]


def test_extreme_numbers_are_no_problem():
    found = sensors(values=(Value(n="a", v=1.7e308, hi=-1.7e308), Value(n="b", v=1, hi=0)))
    assert {name for _, name, _ in found} == {"a", "b"}


FAN = entry(
    "F012",
    "Motor overtemperature",
    causes=("The cooling fan has stopped.",),
    zh=text("电机过热", causes=("冷却风扇停转",)),
)


def logs(*lines, entries=(FAN,)):
    return [(one.ref, one.src, one.quote) for one in log_evidence(report(log=lines), entries)]


def test_log_lines_that_speak_of_the_entry_in_their_order():
    found = logs(
        "start recipe 14", "cooling fan speed low", "door closed", "13:02 f-012 off", "冷却风扇转速低"
    )
    assert [src for _, src, _ in found] == ["log:2", "log:4", "log:5"]
    assert [ref for ref, _, _ in found] == ["L1", "L2", "L3"]


WARM = entry(
    "F012",
    "Motor overtemperature",
    causes=("The fan's filter is blocked or the fan has stopped.", "The motor current is above nominal."),
    actions=("Clean the fan filter.", "Measure the motor current; nominal is 8.2 A."),
)


def test_what_tells_causes_apart_outranks_the_code_and_what_repeats_itself():
    found = logs(
        "motor temperature 101",
        "fan air flow below 70 %",
        "motor current 9.4 A, nominal 8.2 A",
        "motor current 9.5 A, nominal 8.2 A",
        "F012 active, output stage off",
        "CD-06 stopped by downstream interlock",
        entries=(WARM,),
    )
    assert [src for _, src, _ in found] == ["log:2", "log:3", "log:4"]


def test_the_code_alone_is_shown_where_nothing_says_more():
    assert [src for _, src, _ in logs("belt started", "F012 active", entries=(WARM,))] == ["log:2"]


def test_times_of_day_between_chinese_words_are_no_words():
    hours = entry("F1", "", zh=text("停机", causes=("08:15:42 至 08:15:43",), actions=("08:15:42 复位",)))
    assert logs("08:15:42 启动", entries=(hours,)) == []


def test_one_shared_word_is_chance():
    assert logs("motor started", "99 100 2024-01-01") == []


def test_lines_are_bounded_in_number_and_length():
    found = logs(*(f"cooling fan stopped {n} " + "x" * 900 for n in range(20)))
    assert len(found) == 3
    assert all(len(quote) <= 200 for _, _, quote in found)


def test_line_breaks_in_a_line_are_flattened():
    assert logs("cooling\nfan\x0bstopped")[0][2] == "cooling fan stopped"
