import json
from dataclasses import replace

import llguidance
import pytest
from tests.unit.diagnosis.diagnosis_builders import entry, report, retrieval

from lineside.diagnosis.guide import Guide, allowed_severities
from lineside.diagnosis.options import options_of

TOKENIZER = llguidance.LLTokenizer("byte")


def many(count, word):
    return tuple(f"{word} {number}" for number in range(count))


def guide(*shapes, severities=("medium", "high"), open_=False):
    """A guide over entries with so many causes and actions."""
    entries = [
        entry(str(n), f"Fault {n}", causes=many(causes, "cause"), actions=many(actions, "check"))
        for n, (causes, actions) in enumerate(shapes, 1)
    ]
    options = options_of(retrieval("hit", *entries), "en")
    return Guide(options, (severities,) * len(entries), open_)


def accepts(one, text):
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_json_schema(one.schema()))
    assert not matcher.get_error()
    tokens = TOKENIZER.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def output(**fields):
    base = {
        "entry": "K1",
        "causes": ["K1.c2", "K1.c1"],
        "checks": ["K1.a1", "K1.a2"],
        "severity": "high",
    }
    return json.dumps(
        {name: value for name, value in {**base, **fields}.items() if value is not None},
        separators=(",", ":"),
    )


def test_a_good_answer_is_accepted_and_read():
    one = guide((2, 2))
    assert accepts(one, output())
    choice = one.read(output())
    assert (choice.option, choice.causes, choice.checks) == (0, (1, 0), (0, 1))
    assert choice.severity == "high"


@pytest.mark.parametrize(
    "bad",
    [
        {"entry": "K2"},
        {"entry": "none"},
        {"causes": ["K1.c9", "K1.c1"]},
        {"causes": ["K1.c1", "K1.c1"]},
        {"causes": ["K1.c1"]},
        {"causes": []},
        {"causes": ["K2.c1", "K1.c1"]},
        {"checks": ["K1.c1", "K1.a2"]},
        {"severity": "low"},
        {"severity": "critical"},
        {"extra": 1},
    ],
)
def test_what_was_not_offered_cannot_be_written(bad):
    assert not accepts(guide((2, 2)), output(**bad))


def test_what_evidence_has_decided_is_written_last():
    """Behind the last choice nothing has to be read."""
    options = [replace(option, decided=True, ranks=(1, 0)) for option in guide((2, 2)).options]
    decided = Guide(tuple(options), (("medium", "high"),), open=False)
    fields = {"causes": None, "checks": ["K1.a2", "K1.a1"]}
    text = output(**fields).removesuffix("}") + ',"causes":["K1.c2","K1.c1"]}'
    assert accepts(decided, text)
    assert not accepts(decided, output(checks=["K1.a2", "K1.a1"]))
    assert decided.read(text).causes == (0, 1), "the order that stands"


def test_neither_can_white_space_or_another_order_of_fields():
    one = guide((2, 2))
    assert not accepts(one, json.dumps(json.loads(output())))
    assert not accepts(one, json.dumps(dict(reversed(json.loads(output()).items())), separators=(",", ":")))


def test_an_entry_without_causes_allows_only_none():
    one = guide((0, 2))
    assert accepts(one, output(causes=[]))
    assert not accepts(one, output(causes=["K1.c1"]))


def test_causes_belong_to_the_chosen_entry():
    one = guide((2, 2), (2, 2))
    second = {"entry": "K2", "causes": ["K2.c1", "K2.c2"], "checks": ["K2.a2", "K2.a1"]}
    assert accepts(one, output(**second))
    assert not accepts(one, output(entry="K2"))
    assert one.read(output(**second)).option == 1


def test_none_is_offered_only_where_retrieval_was_unsure():
    one = guide((2, 2), open_=True)
    assert accepts(one, '{"entry":"none"}')
    assert one.read('{"entry":"none"}') is None
    with pytest.raises(ValueError, match="not offered"):
        guide((2, 2)).read('{"entry":"none"}')


@pytest.mark.parametrize(
    ("manual", "sev", "allowed"),
    [
        ("low", None, ("low",)),
        ("critical", None, ("critical",)),
        ("low", 700, ("high",)),
        (None, 100, ("low",)),
        (None, None, ("medium", "high")),
    ],
)
def test_what_manual_and_alarm_say_stands_and_else_the_model_may_raise_it_a_step(manual, sev, allowed):
    assert allowed_severities(report(sev=sev), entry(severity=manual)) == allowed


def test_only_an_allowed_severity_can_be_written():
    for severity in ("low", "medium", "high", "critical"):
        one = guide((2, 2), severities=("medium", "high"))
        assert accepts(one, output(severity=severity)) is (severity in ("medium", "high"))


def test_of_many_causes_the_first_two_are_chosen():
    one = guide((5, 0))
    assert accepts(one, output(causes=["K1.c5", "K1.c2"], checks=[]))
    assert not accepts(one, output(causes=["K1.c5", "K1.c2", "K1.c1"], checks=[]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '{"entry":5}',
        output() + "x",
        output(extra=1),
        output(severity="bad"),
        output(entry="K7"),
        output(causes=["K9.c1"]),
        output(checks=["K1.c1"]),
    ],
)
def test_reading_is_strict(text):
    with pytest.raises(ValueError, match=r"."):
        guide((2, 2)).read(text)


@pytest.mark.parametrize("shapes", [[(0, 0)], [(3, 4)], [(3, 4)] * 3, [(32, 32)] * 3])
def test_the_orders_on_offer_stay_few_however_long_a_manual_is(shapes):
    """Every order of ten causes would be 3.6 million; the size of the schema is what compiling it costs."""
    schema = guide(*shapes, open_=len(shapes) > 1).schema()
    assert len(schema) < 6_000
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_json_schema(schema))
    assert not matcher.get_error()


def test_most_of_an_answer_is_forced():
    """Counted in bytes: what the grammar leaves open is a few choices."""
    one = guide((3, 4))
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_json_schema(one.schema()))
    text = output(causes=["K1.c2", "K1.c1", "K1.c3"], checks=["K1.a1", "K1.a4"])
    chosen = position = 0
    data = text.encode()
    while position < len(data):
        forced = matcher.compute_ff_bytes()
        if forced:
            assert data[position : position + len(forced)] == forced
        else:
            chosen += 1
        step = forced or data[position : position + 1]
        assert matcher.consume_tokens(TOKENIZER.tokenize_bytes(step))
        position += len(step)
    assert chosen <= 6


def test_the_longest_text_is_no_shorter_than_what_may_be_written():
    one = guide((5, 5), (3, 3))
    longest = output(
        entry="K2",
        causes=["K2.c1", "K2.c2", "K2.c3"],
        checks=["K2.a1", "K2.a2", "K2.a3"],
        severity="medium",
    )
    assert len(one.longest()) >= len(longest)
