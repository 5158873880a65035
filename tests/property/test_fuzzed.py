"""All that takes bytes from others, for a moment each; and what `scripts/fuzz` has found, for good."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fuzzing import corpus, fuzz, mutated, targets, tried

TARGETS = targets()
# HTML is read by a process of its own, which takes longer than this test may.
QUICK = [name for name in TARGETS if name != "knowledge.html"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["v", "id", "dev", "alarm", "values", "ts", "deadline_ms", "locale", "verdict", "by", "code"]
)
DOCUMENT = st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=4), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_stays_mended(name):
    target, seeds = TARGETS[name]
    for content in [*seeds, *corpus(name)]:
        tried(name, target, content)


@pytest.mark.parametrize("name", QUICK)
def test_changed_inputs_are_taken_or_refused_in_words(name):
    assert fuzz(name, 0.25, random.Random(20_261_126)) > 0


@settings(max_examples=100, deadline=None)
@given(DOCUMENT)
def test_documents_of_any_shape_are_taken_or_refused_in_words(document):
    content = json.dumps(document).encode()
    for name in ("report", "envelope", "verdict"):
        tried(name, TARGETS[name][0], content)


def key_of(value: object) -> str:
    return json.dumps(value) if not isinstance(value, float) else repr(value)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["engine", "grpc", "mqtt", "plant", "power", "mapping", "x"]),
    st.dictionaries(
        st.sampled_from(
            ["slots", "port", "host", "mappings", "schedule", "limit_w", "topic", "name", "format"]
        ),
        st.integers() | st.text(max_size=10) | st.lists(st.integers(), max_size=3) | st.floats(),
        max_size=4,
    ),
)
def test_settings_of_any_kind_are_taken_or_refused_in_words(section, entries):
    lines = "\n".join(f"{key} = {key_of(value)}" for key, value in entries.items())
    for name in ("config", "mapping", "calibration", "manifest"):
        tried(name, TARGETS[name][0], f"[{section}]\n{lines}\n".encode())


def test_what_breaks_a_target_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LINESIDE_FUZZ_FOUND", str(tmp_path))

    def breaks(_content: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tried("report", breaks, b"abc")
    assert (tmp_path / "report-3.found").read_bytes() == b"abc"


def test_inputs_are_changed_within_their_bound():
    chance = random.Random(1)
    assert all(len(mutated([b"x" * 60_000, b""], chance)) <= 70_000 for _ in range(300))
