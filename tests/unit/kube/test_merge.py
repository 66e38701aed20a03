"""Merge patches: the smallest one, and one that really leads from what is to what is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.kube.merge import merge_patch

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", max_size=1), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text("xyz", max_size=1), VALUES, max_size=4)


def apply_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_patch(result.get(key), value)
    return result


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_none(inner) for inner in value]
    return value


@given(OBJECTS.map(without_none), OBJECTS)
def test_a_patch_leads_from_the_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert repr(sorted_keys(apply_patch(before, merge_patch(before, after)))) == repr(sorted_keys(without_none(after)))


@given(OBJECTS)
def test_nothing_to_change_is_an_empty_patch(before: dict[str, Any]) -> None:
    assert merge_patch(without_none(before), before) == {}


def sorted_keys(value: Any) -> Any:
    """Comparable text: True and 1 are told apart, the order of keys is not."""
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        (
            {"phase": "Running", "progress": {"bytes": 1}},
            {"phase": "Succeeded"},
            {"phase": "Succeeded", "progress": None},
        ),
        (
            {"size": {"stored": 1, "human": "1B"}},
            {"size": {"stored": 2, "human": None}},
            {"size": {"stored": 2, "human": None}},
        ),
        ({"names": ["a", "b"]}, {"names": ["a"]}, {"names": ["a"]}),
        ({"count": 1}, {"count": True}, {"count": True}),
        ({"names": ["a"]}, {"names": ("a",)}, {}),
        ({}, {"attempts": [{"job": "x", "reason": None}]}, {"attempts": [{"job": "x"}]}),
        ({"a": "text"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_examples(before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merge_patch(before, after) == patch
