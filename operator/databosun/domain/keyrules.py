"""What a rule on keys comes to, and what cannot be kept there: keys have no age, but where nobody touched one for so
long, it is at least as old; and one that is given a time to live is kept for at least that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from databosun.api.lifecycle import ActionType
from databosun.api.v1alpha1.dataexport import ExportRule
from databosun.api.v1alpha1.erasurerequest import ErasureRule
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec, LifecycleRule
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.keypatterns import PatternFault, matches_everything, read_pattern
from databosun.domain.presets import invalid_spec, read_span
from databosun.domain.subjectpatterns import read_subject_pattern

# The server counts idle seconds in 24 bits: after 194 days a key looks as if it had been used just now.
MOST_IDLE = timedelta(days=190)
_SECOND, _CENTURY = timedelta(seconds=1), timedelta(days=36500)


def demand_pattern(path: str, text: str) -> None:
    """UserFault(InvalidSpec) names the field."""
    try:
        read_pattern(text)
    except PatternFault as fault:
        message = f"{path} is {text!r}: {fault}"
        raise invalid_spec(message) from fault


def keys_of(path: str, rule: LifecycleRule) -> dict[str, Any]:
    """What an order has of it; nothing of a rule that is not on keys. UserFault(InvalidSpec) names the field."""
    target = rule.target
    if target is None or target.key_pattern is None:
        return {}
    pattern = target.key_pattern
    demand_pattern(f"{path}.target.keyPattern", pattern)
    if matches_everything(pattern) and not target.every_key:
        message = (
            f"{path}.target.keyPattern is {pattern!r}, which every name matches; name the keys more closely, or say"
            f" {path}.target.everyKey: true"
        )
        raise invalid_spec(message)
    idle = _span(f"{path}.match.idleFor", rule.match.idle_for if rule.match else None, MOST_IDLE)
    after = _span(f"{path}.action.expire.after", rule.action.expire.after if rule.action.expire else None, _CENTURY)
    _demand_floor(path, rule, idle, after)
    return {
        "keys": pattern,
        "every_key": target.every_key,
        "idle_seconds": idle,
        "expire_seconds": after,
        "shorten": rule.action.expire is not None and rule.action.expire.shorten,
    }


def demand_targets(spec: LifecyclePolicySpec, engine: str, *, keyed: bool) -> None:
    """UserFault(ActionUnsupported) where rules or holds are about what the engine does not have: a hold that finds
    nothing would hold nothing."""
    targets = [(f"rule {one.name}: target", one.target) for one in spec.rules if one.target is not None]
    named = [(what, one.table, one.key_pattern) for what, one in targets]
    named += [(f"hold {one.name}: its", one.table, one.key_pattern) for one in spec.holds]
    for what, table, pattern in named:
        if keyed and table is not None:
            message = f"{what} table is {table}, and {engine} has keys; say keyPattern in its place"
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)
        if not keyed and pattern is not None:
            message = f"{what} keyPattern is {pattern}, and {engine} has no keys; say table in its place"
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)


def demand_places(rules: Iterable[ErasureRule | ExportRule], engine: str, *, keyed: bool) -> None:
    """UserFault where the engine does not have what a rule looks for a person in, or a pattern is ambiguous."""
    for number, one in enumerate(rules):
        if keyed and one.key_pattern is None:
            message = f"rule {one.name} names table {one.table}, and {engine} has keys; say keyPattern in its place"
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)
        if one.key_pattern is None:
            continue
        if not keyed:
            message = f"rule {one.name} has keyPattern {one.key_pattern}, and {engine} has no keys; name a table"
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)
        try:
            read_subject_pattern(one.key_pattern)
        except PatternFault as fault:
            message = f"spec.rules[{number}].keyPattern is {one.key_pattern!r}: {fault}"
            raise invalid_spec(message) from fault


def _span(path: str, text: str | None, most: timedelta) -> int | None:
    return int(read_span(path, text, _SECOND, most).total_seconds()) if text is not None else None


def _demand_floor(path: str, rule: LifecycleRule, idle: int | None, after: int | None) -> None:
    if rule.limits.min_retention is None:
        return
    floor = read_span(f"{path}.limits.minRetention", rule.limits.min_retention, timedelta(0), _CENTURY).total_seconds()
    kept = (idle or 0) + (after or 0)
    if kept < floor:
        expires = rule.action.type is ActionType.EXPIRE
        able = "match.idleFor and action.expire.after together" if expires else "match.idleFor"
        message = (
            f"{path}.limits.minRetention is {rule.limits.min_retention}, and a key does not tell its age; expected"
            f" {able} to be no less"
        )
        raise invalid_spec(message)
