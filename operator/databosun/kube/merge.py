"""JSON merge patches (RFC 7386): what to send so that an object becomes what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest merge patch that turns `before` into `after`; empty where they are equal.

    A field that is absent from `after`, or None there, is removed. Lists are replaced whole. An empty mapping that only
    `after` has stays one.
    """
    patch: dict[str, Any] = {key: None for key, old in before.items() if old is not None and after.get(key) is None}
    for key, new in after.items():
        if new is None:
            continue
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if inner := merge_patch(old, new):
                patch[key] = inner
        elif old == new and isinstance(old, bool) is isinstance(new, bool):
            continue
        elif old != (clean := _without_none(new)) or isinstance(old, bool) is not isinstance(clean, bool):
            patch[key] = clean
    return patch


def _without_none(value: Any) -> Any:
    """The same value with None fields left out at every depth, and tuples as the lists that JSON makes of them."""
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value]
    return value
