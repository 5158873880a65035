import pytest

from lineside.gateways.filters import is_filter, match, overlap


@pytest.mark.parametrize("text", ["a", "a/b", "+/a", "a/#", "#", "/a/+", "a//b"])
def test_what_a_broker_takes(text):
    assert is_filter(text)


@pytest.mark.parametrize("text", ["", "a#", "a/#/b", "a+/b", "#/a", "a\0"])
def test_what_no_broker_takes(text):
    assert not is_filter(text)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "wild"),
    [
        ("a/+/c", "a/b/c", ("b",)),
        ("a/#", "a/b/c", ("b", "c")),
        ("a/#", "a", ()),
        ("a", "a", ()),
        ("+/x/#", "L1/x/a/b", ("L1", "a", "b")),
        ("/+/c", "/b/c", ("b",)),
        ("a/+", "a", None),
        ("a/+", "a/b/c", None),
        ("a", "b", None),
        ("#", "$SYS/x", None),
        ("+/x", "$SYS/x", None),
    ],
)
def test_the_levels_that_wildcards_stand_for(topic_filter, topic, wild):
    assert match(topic_filter, topic) == wild


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/#", "a", True),
        ("#", "x/y", True),
        ("+/b", "a/+", True),
        ("a/b", "a/c", False),
        ("a", "a/b", False),
        ("a/+", "b/+", False),
        ("a/+/c", "a/#", True),
    ],
)
def test_overlap_is_mutual(one, other, expected):
    assert overlap(one, other) is overlap(other, one) is expected
