"""What the agent is told of an ErasureRequest: its rules, and every hold that concerns its database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from databosun.api.lifecycle import MOST_HOLDS, ActionType, HoldOrder, LifecycleOrder, LimitsOrder, RuleOrder
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec, ErasureRule
from databosun.domain.lifecycleorder import hold_of, mask_of
from databosun.domain.presets import invalid_spec, read_span
from databosun.domain.whereabouts import Whereabouts

LONGEST_WAIT = timedelta(days=30)


def erasure_order(spec: ErasureRequestSpec, where: Whereabouts, holds: Iterable[HoldOrder]) -> LifecycleOrder:
    """Rows are taken by the subject's key alone, whatever their age. `holds`: of the database's LifecyclePolicies.

    UserFault(InvalidSpec) where they are more than one order takes: none is ever left out."""
    all_holds = [*map(hold_of, spec.holds), *holds]
    if len(all_holds) > MOST_HOLDS:
        message = (
            f"spec.holds and those of the database's LifecyclePolicies are {len(all_holds)}; expected {MOST_HOLDS} or"
            " fewer: write holds on the same table as one (where: a OR b), and take those out whose `until` is over"
        )
        raise invalid_spec(message)
    return LifecycleOrder(
        database_uid=where.database_uid,
        server=where.server,
        place=where.place,
        database=spec.database,
        storage=spec.storage_ref.name,
        rules=[_rule(rule) for rule in spec.rules],
        holds=all_holds,
    )


def wait_of(spec: ErasureRequestSpec) -> timedelta:
    """How long the plan waits for its Approval. UserFault(InvalidSpec)."""
    return read_span("spec.approveWithin", spec.approve_within, timedelta(minutes=1), LONGEST_WAIT)


def _rule(rule: ErasureRule) -> RuleOrder:
    return RuleOrder(
        name=rule.name,
        table=rule.table or "",
        keys=rule.key_pattern,
        action=ActionType(rule.action.type),
        subject_column=rule.column,
        masks=[mask_of(mask) for mask in rule.action.columns or []],
        cascades=list(rule.allow.cascades),
        triggers=list(rule.allow.triggers),
        foreign_keys=rule.foreign_keys,
        limits=LimitsOrder(max_rows_per_run=rule.max_rows, max_percent=100),
    )
