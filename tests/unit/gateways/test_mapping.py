"""What is wrong with a mapping is found at start, by its key."""

import pytest
from tests.unit.gateways.gateways_parts import gateways, simple

from lineside.errors import LinesideError
from lineside.gateways.gateways import load_gateways

CODE = 'alarm.code = "/code"'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (simple('alarm.code = "code"'), r"report\.alarm\.code: 'code' is no JSON pointer"),
        (simple('alarm.code = "/a~b"'), r"report\.alarm\.code: .*~0"),
        (simple("alarm.code = {}"), r"report\.alarm\.code: one of"),
        (simple('alarm.code = { at = "/a", const = "x" }'), r"report\.alarm\.code: one of"),
        (simple('alarm.code = { const = "x", map = { a = "b" } }'), r"report\.alarm\.code: `map`"),
        (simple('alarm.code = { at = "/a", digits = 99 }'), r"report\.alarm\.code"),
        (simple('alarm.kode = "/a"'), r"unknown field `kode` - at `\$\.mapping\[0\]\.report\.alarm`"),
        (simple('alarms.code = "/a"'), r"unknown field `alarms` - at `\$\.mapping\[0\]\.report`"),
        (simple('alarm.code = { att = "/a" }'), r"unknown field `att`"),
        (simple("alarm.code = true"), r"\$\.mapping\[0\]\.report\.alarm\.code"),
        (simple(""), r"report\.alarm: alarm\.code or alarm\.text"),
        (simple(CODE, 'each = "alarms"'), r"each: 'alarms' is no JSON pointer"),
        (simple(CODE, "each = 3"), r"\$\.mapping\[0\]\.each"),
        (simple(CODE, 'device = "L1"'), r"device: 'L1' names no level"),
        (simple(CODE, 'device = "{0}"'), r"device: '\{0\}' names no level"),
        (simple(CODE, 'device = "{2}{x}"'), r"device"),
        (simple('dev.id = { topic = "x" }\n' + CODE), r"report\.dev\.id: 'x' names no level"),
        (simple(CODE, 'device = "{2}/{4}"'), r"device: '\{2\}/\{4\}' names a level that no topic of"),
        (simple('dev.id = { topic = "{4..}" }\n' + CODE), r"report\.dev\.id: .* names a level"),
        (simple(CODE, 'ignore = [{ at = "/x" }]'), r"ignore: `equals` or `missing`"),
        (simple(CODE, 'each = "/a"\neach_bit = "/b"'), r"each_bit: only one"),
        (simple(CODE, 'each_bit = "b"'), r"each_bit: 'b' is no JSON pointer"),
        (simple(CODE + '\nts = { at = "/t", format = "%Q" }'), r"report\.ts: .*directive"),
        (
            simple('alarm.code = { at = "/t", format = "%Y" }'),
            r"report\.alarm\.code: `format` goes with times",
        ),
        (simple(CODE + '\nalarm.sev = { at = "/s", digits = 3 }'), r"report\.alarm\.sev: `prefix`"),
        (simple(CODE + '\nalarm.sev = { const = "high" }'), r"report\.alarm\.sev: is 'high', where a whole"),
        (simple(CODE + '\nalarm.sev = { at = "/s", map = { a = "b" } }'), r"report\.alarm\.sev: is 'b'"),
        (simple(CODE + '\nts = { const = "noon" }'), r"report\.ts: 'noon' is no time"),
        (
            simple('alarm.code = { const = "x", digits = 3 }'),
            r"report\.alarm\.code: is 'x', which has no digits",
        ),
        (simple(CODE, 'separator = ";"'), r"separator: it goes with"),
        (simple(CODE, 'forms = ["sms"]'), r"\$\.mapping\[0\]\.forms"),
        (simple(CODE, 'gateways = ["a+b"]'), r"gateways: 'a\+b' is no name for a client"),
        (simple(CODE, 'gateways = ["lineside"]'), r"gateways: 'lineside' is no name"),
        (simple(CODE, f"gateways = {['a'] * 17}"), r"\$\.mapping\[0\]\.gateways"),
        (
            f'[[mapping]]\ntopic = "a/+ "\ngateways = ["a"]\n[mapping.report]\n{CODE}',
            r"gateways: 'a/\+ ' cannot stand|no topic filter",
        ),
        (
            f'[[mapping]]\ntopic = "a\\n/+"\ngateways = ["a"]\n[mapping.report]\n{CODE}',
            r"gateways: 'a\\n/\+' cannot stand",
        ),
        (simple(CODE, 'format = "xml"'), r"\$\.mapping\[0\]\.format"),
        (simple(CODE, 'format = "report"'), r"report: with format"),
        (simple(CODE, "ignore = [{ equals = [0] }]"), r"ignore: one of"),
        (simple(CODE + '\n[mapping.values]\nt = "temp"'), r"values\.t: 'temp' is no JSON pointer"),
        (simple(CODE + '\n[mapping.values]\nt = { at = "/t", uu = "C" }'), r"unknown field `uu`"),
        (simple(CODE + '\n[mapping.all_values]\nat = "/v"\nn = "name"'), r"all_values\.n: 'name'"),
        (simple(CODE + "\n[mapping.all_values]"), r"all_values: one of"),
        (f'[[mapping]]\ntopic = "a/#/b"\n[mapping.report]\n{CODE}', r"topic: 'a/#/b' is no topic filter"),
        (f'[[mapping]]\ntopic = "$share/a/b"\n[mapping.report]\n{CODE}', r"is no topic filter"),
        (f'[[mapping]]\ntopic = "#"\n[mapping.report]\n{CODE}', r"the daemon's own"),
        (f'[[mapping]]\ntopic = "lineside/v1/fault/x"\n[mapping.report]\n{CODE}', r"the daemon's own"),
        (f'[[mapping]]\ntopic = "a/b"\n[mapping.report]\n{CODE}', r"device: neither the topic nor"),
        ("", r"mapping"),
        ("mapping = []", r"\$\.mapping"),
        ("[[mapping", r"line 1|Expected|TOML|declaration"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, named):
    with pytest.raises(LinesideError, match=named) as caught:
        gateways(tmp_path, text)
    assert "gateway.toml" in caught.value.message
    assert caught.value.hint


def test_two_mappings_of_one_topic_are_refused(tmp_path):
    with pytest.raises(LinesideError, match=r"'g/\+/\+' overlaps 'g/\+/\+'"):
        gateways(tmp_path, simple(CODE) + simple(CODE))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LinesideError, match=r"none\.toml") as caught:
        load_gateways([tmp_path / "none.toml"], "")
    assert "[mqtt] mappings" in caught.value.hint


def test_the_filters_are_those_of_every_file(tmp_path):
    (tmp_path / "a.toml").write_text(simple(CODE))
    (tmp_path / "b.toml").write_text(simple(CODE).replace("g/+/+", "h/#"))
    loaded = load_gateways([tmp_path / "a.toml", tmp_path / "b.toml"], "")
    assert loaded.filters == ("g/+/+", "h/#")
    assert loaded.read("elsewhere", b"{}") is None
