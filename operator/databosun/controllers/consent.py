"""Who consented to the plan of an object, and which holds forbid all that a LifecyclePolicy does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.lifecyclestatus import LifecyclePlanStatus
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy
from databosun.domain.consent import Consent, in_force
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_HOLD
from databosun.kube.resources import APPROVALS, LIFECYCLE_POLICIES
from databosun.runtime.queue import Key


def consents_to(context: Context, key: Key) -> list[Consent]:
    """The Approvals that name an object, as they were seen last."""
    return _given(context.cache.get(one) for one in _approvals(context, key))


async def consents_now(context: Context, key: Key, known: str | None = None) -> list[Consent]:
    """The same, read live: one may have been taken back. `known`: one that is stood on, and that this process may not
    have seen yet."""
    names = {one.name for one in _approvals(context, key)} | ({known} if known is not None else set())
    return _given([await context.kube.get(APPROVALS, key.namespace, name) for name in sorted(names)])


def _approvals(context: Context, key: Key) -> tuple[Key, ...]:
    return context.cache.referring(APPROVALS.kind, key.namespace, f"{key.kind}:{key.name}")


def _given(bodies: Iterable[Mapping[str, Any] | None]) -> list[Consent]:
    found = [read.approval(body) for body in bodies if body is not None]
    told = [(meta.name, spec) for meta, spec in found if not meta.deleting]
    return [Consent(name, spec.plan_hash, spec.not_after, spec.approved_by) for name, spec in told]


def consent_to_rules(
    context: Context,
    policy: SeenLifecyclePolicy,
    plan: LifecyclePlanStatus | None,
    order_hash: str | None,
    now: datetime,
) -> Consent | None:
    """The consent to the plan that was shown, if the rules are still those."""
    if plan is None or plan.order_hash != order_hash:
        return None
    key = Key(LIFECYCLE_POLICIES.kind, policy.meta.namespace, policy.meta.name)
    return in_force(consents_to(context, key), plan.hash, now)


async def consent_to_rules_now(
    context: Context, policy: SeenLifecyclePolicy, order_hash: str, now: datetime, known: str | None
) -> Consent | None:
    """The same, read live."""
    plan = policy.status.plan
    if plan is None or plan.order_hash != order_hash:
        return None
    key = Key(LIFECYCLE_POLICIES.kind, policy.meta.namespace, policy.meta.name)
    return in_force(await consents_now(context, key, known), plan.hash, now)


def held_as_a_whole(policy: SeenLifecyclePolicy, database: SeenDatabase | None, now: datetime) -> str | None:
    """The hold that forbids every change, in words; None where there is none."""
    for kind, meta in (("LifecyclePolicy", policy.meta), ("Database", database.meta if database else None)):
        if meta is not None and meta.labels.get(LABEL_HOLD) == "true":
            reason = meta.annotations.get(ANNOTATION_HOLD_REASON)
            return f"{kind} {meta.name} is under a legal hold{f': {reason}' if reason else ''}"
    for hold in policy.spec.holds:
        if hold.table is None and hold.key_pattern is None and (hold.until is None or now < hold.until):
            return f"hold {hold.name} holds all of it: {hold.reason}"
    return None
