"""What a LifecyclePolicy or an ErasureRequest asks for, in words, for whoever is to consent to it."""

from __future__ import annotations

from collections.abc import Iterator

from databosun.api.lifecycle import ActionType
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec
from databosun.api.v1alpha1.lifecyclepolicy import (
    LifecycleHold,
    LifecycleMatch,
    LifecyclePolicySpec,
    LifecycleRule,
    Mask,
    RowHold,
)
from databosun.api.v1alpha1.lifecyclestatus import PlannedRule
from databosun.cli.words import stamp
from databosun.domain.lifecycle import MOST_SHOWN
from databosun.domain.lifecycleorder import transitions_of


def asked_of(spec: LifecyclePolicySpec) -> Iterator[str]:
    """A line for each thing that decides which rows go, and what stays."""
    for rule in spec.rules:
        if rule.action.type is ActionType.STORAGE_TRANSITION:
            yield from _steps(rule)
            continue
        yield f"{rule.name}: {_rows(rule)}"
        for mask in rule.action.columns or ():
            yield f"{rule.name}: overwrites {mask.name}: {_method(mask)}"
        yield f"{rule.name}: {_limits(rule)}"
    for hold in spec.holds:
        yield _hold(hold)
    if not spec.holds:
        yield "no hold keeps anything"


def erasure_of(spec: ErasureRequestSpec) -> Iterator[str]:
    """The same of an ErasureRequest; whose key it is about is in its Secret alone."""
    for rule in spec.rules:
        yield f"{rule.name}: rows of {rule.table} where {rule.column} is the subject's key, at most {rule.max_rows:,}"
        for mask in rule.action.columns or ():
            yield f"{rule.name}: overwrites {mask.name}: {_method(mask)}"
    for hold in spec.holds:
        yield _hold(hold)


def bound_to(rule: PlannedRule) -> Iterator[str]:
    """The functions and views that are approved with a rule, as they are."""
    for one in rule.calls:
        yield f"{rule.name}: bound to {one.name} as it is (sha256 {one.sha256[:12]}); replaced, it needs approval anew"
    if len(rule.calls) >= MOST_SHOWN:
        yield f"{rule.name}: bound to all others that are called too; the first {MOST_SHOWN} are shown"


def _steps(rule: LifecycleRule) -> Iterator[str]:
    for step in transitions_of("action", rule.action):
        yield f"{rule.name}: chains of backups whose newest is {step.days} days old go to {step.storage_class}"
    yield f"{rule.name}: nothing is deleted; the newest backup of each policy, proven and held ones stay"


def _rows(rule: LifecycleRule) -> str:
    match, table = rule.match or LifecycleMatch(), rule.target.table if rule.target else ""
    if rule.target is not None and rule.target.key_pattern is not None:
        return _keys(rule, rule.target.key_pattern, match)
    parts = [f"{match.column} is more than {match.older_than} ago"] if match.older_than else []
    parts += [f"({match.where})"] if match.where else []
    return f"rows of {table} where {' and '.join(parts)}"


def _keys(rule: LifecycleRule, pattern: str, match: LifecycleMatch) -> str:
    said = f"keys named {pattern}" + (f" that nobody used at the master for {match.idle_for}" if match.idle_for else "")
    expire = rule.action.expire
    if expire is None:
        return said
    which = ", or with a longer one" if expire.shorten else ""
    return f"{said} without a time to live{which}, live for {expire.after} more"


def _limits(rule: LifecycleRule) -> str:
    limits = rule.limits
    most, share = f"{limits.max_rows_per_run:,}", limits.max_percent
    parts = [f"at most {most} rows a run, none where it matches more than {share} % of them"]
    if rule.target is not None and rule.target.key_pattern is not None:
        parts = [f"at most {most} keys a run, none where it takes more than {share} % of all keys of the database"]
    parts += [f"the newest {limits.keep_newest:,} rows stay"] if limits.keep_newest else []
    parts += [f"none younger than {limits.min_retention}"] if limits.min_retention else []
    return "; ".join(parts)


def _method(mask: Mask) -> str:
    details = {
        "value": mask.value,
        "first characters kept": mask.keep_first or None,
        "last characters kept": mask.keep_last or None,
        "step": mask.step,
        "to": mask.to,
    }
    said = ", ".join(f"{name} {value!s}" for name, value in details.items() if value is not None)
    return f"{mask.method} ({said})" if said else str(mask.method)


def _hold(hold: RowHold) -> str:
    held = f"rows of {hold.table}" if hold.table else "everything"
    if isinstance(hold, LifecycleHold) and hold.key_pattern:
        held = f"keys named {hold.key_pattern}"
    held += f" where ({hold.where})" if hold.where else ""
    until = f", until {stamp(hold.until)}" if hold.until else ""
    return f"hold {hold.name}: {held} stays{until} ({hold.reason})"
