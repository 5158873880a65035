from __future__ import annotations

import sys

import pytest

from lineside_models.toml import to_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_manifest_shapes_come_back() -> None:
    table = {
        "text": 'a "b" \\ \n\t \x7f \x01 中文 😀',
        "numbers": [1, -2, 0.5, 1e-06, 1e22],
        "yes": True,
        "empty": [],
        "nested": {"a b": 1, "deep": {"x.y": "z"}},
        "plan": [{"file": "a", "batch": 1}, {"file": "b", "batch": 8}],
    }
    assert tomllib.loads(to_toml(table)) == table


def test_none_is_left_out_and_strangers_refused() -> None:
    assert to_toml({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError, match="object"):
        to_toml({"a": object()})
