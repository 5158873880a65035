import json
import os
import time

import pytest

from lineside.errors import Reason, RejectedError
from lineside.serving.grammar import MAX_SCHEMA_BYTES
from lineside.serving.schema_check import LIMIT_S, SchemaChecker

GOOD = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
ENDLESS = {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (10007, 10009, 10037)]}


@pytest.fixture
def checker():
    checker = SchemaChecker()
    yield checker
    checker.close()


def refusal(checker, schema):
    with pytest.raises(RejectedError) as caught:
        checker.check(schema if isinstance(schema, str) else json.dumps(schema))
    assert caught.value.field == "json_schema"
    assert len(caught.value.message) < 600
    return caught.value


def test_a_good_schema_passes_and_is_remembered(checker):
    checker.check(json.dumps(GOOD))
    child = checker._child.pid
    os.kill(child, 9)
    checker._child.wait()
    checker.check(json.dumps(GOOD))
    assert checker._child.pid == child, "no new child was needed"


@pytest.mark.parametrize(
    "schema",
    ["{", {"type": "nothing"}, {"type": "string", "pattern": "(((" * 2000}, {"$ref": "http://x.example/y"}],
)
def test_one_that_cannot_be_used_is_refused_with_a_short_message(checker, schema):
    assert refusal(checker, schema).reason is Reason.INVALID


def test_one_that_never_finishes_is_refused_in_time_and_the_next_is_served(checker):
    begun_s = time.monotonic()
    assert "takes more than" in refusal(checker, ENDLESS).message
    assert time.monotonic() - begun_s < LIMIT_S + 2
    checker.check(json.dumps(GOOD))


def test_the_size_is_bounded(checker):
    text = json.dumps(GOOD)
    checker.check(text + " " * (MAX_SCHEMA_BYTES - len(text)))
    assert refusal(checker, text + " " * (MAX_SCHEMA_BYTES - len(text) + 1)).reason is Reason.TOO_LONG


def test_closing_ends_the_child(checker):
    checker.check(json.dumps(GOOD))
    child = checker._child
    checker.close()
    assert child.poll() is not None
    checker.close()
