"""Who consented to the plan of a LifecyclePolicy, and which holds forbid all of it."""

from __future__ import annotations

from datetime import datetime

from databosun.api.v1alpha1.lifecyclestatus import GivenApproval, LifecyclePlanStatus
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy
from databosun.domain.lifecyclepolicy import consent_in_force
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_HOLD
from databosun.kube.resources import APPROVALS, LIFECYCLE_POLICIES


def approval_of(
    context: Context,
    policy: SeenLifecyclePolicy,
    plan: LifecyclePlanStatus | None,
    order_hash: str | None,
    now: datetime,
) -> GivenApproval | None:
    """The Approval of the plan that was shown, while it is in force."""
    of = f"{LIFECYCLE_POLICIES.kind}:{policy.meta.name}"
    keys = context.cache.referring(APPROVALS.kind, policy.meta.namespace, of)
    found = [read.approval(body) for key in keys if (body := context.cache.get(key)) is not None]
    given = [(meta.name, spec.plan_hash, spec.approved_by, spec.not_after) for meta, spec in found if not meta.deleting]
    return consent_in_force(plan, order_hash, given, now)


def held_as_a_whole(policy: SeenLifecyclePolicy, database: SeenDatabase | None, now: datetime) -> str | None:
    """The hold that forbids every change, in words; None where there is none."""
    for kind, meta in (("LifecyclePolicy", policy.meta), ("Database", database.meta if database else None)):
        if meta is not None and meta.labels.get(LABEL_HOLD) == "true":
            reason = meta.annotations.get(ANNOTATION_HOLD_REASON)
            return f"{kind} {meta.name} is under a legal hold{f': {reason}' if reason else ''}"
    for hold in policy.spec.holds:
        if hold.table is None and (hold.until is None or now < hold.until):
            return f"hold {hold.name} holds all of it: {hold.reason}"
    return None
