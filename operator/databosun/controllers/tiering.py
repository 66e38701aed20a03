"""What the operator knows of a database whose backups are to move: who keeps, drills and needs which of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from databosun.api.lifecycle import ForeignKeys
from databosun.api.tiering import Conflict, TieringScope
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.covering import covered
from databosun.controllers.matching import drill_keys_of, drills
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy, SeenStorage
from databosun.domain.capabilities import CAPABILITIES, is_managed
from databosun.domain.errors import UserFault
from databosun.domain.keyrules import demand_targets
from databosun.domain.lifecycleorder import moves_objects, transitions_of
from databosun.domain.schedule import interval
from databosun.domain.tierconflicts import DrillSeen, RetentionSeen, longest_kept, tier_conflicts
from databosun.domain.tiers import tier_objectives
from databosun.kube.resources import LIFECYCLE_POLICIES

MOST = 16


def demand_served(spec: LifecyclePolicySpec, engine: str, storage: SeenStorage | None) -> None:
    """UserFault where this release cannot do what the rules ask for."""
    if not moves_objects(spec):
        _demand_actions(spec, engine)
        return
    if is_managed(engine):
        message = f"backups of engine {engine} stay with the cloud; the bucket holds only notes of them"
        raise UserFault(Reason.TRANSITION_UNSUPPORTED, message)
    if storage is not None and storage.spec.s3 is None:
        message = f"BackupStorage {storage.meta.name} is a volume; StorageTransition needs a bucket (spec.s3)"
        raise UserFault(Reason.TRANSITION_UNSUPPORTED, message)


def _demand_actions(spec: LifecyclePolicySpec, engine: str) -> None:
    known = CAPABILITIES.get(engine)
    if known is None or not known.actions:
        able = ", ".join(sorted(name for name, one in CAPABILITIES.items() if one.actions))
        raise UserFault(Reason.UNSUPPORTED_ENGINE, f"this release has no lifecycle for {engine}; it serves {able}")
    for rule in spec.rules:
        if rule.action.type not in known.actions:
            able = ", ".join(sorted(known.actions))
            message = f"rule {rule.name}: this release has no {rule.action.type} for {engine}; it has {able}"
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)
        if rule.foreign_keys is ForeignKeys.CHILDREN_FIRST and not known.references:
            message = (
                f"rule {rule.name}: foreignKeys is ChildrenFirst; {engine} knows no references between collections"
            )
            raise UserFault(Reason.ACTION_UNSUPPORTED, message)
    demand_targets(spec, engine, keyed=known.keyed)


def scope_of(context: Context, policy: SeenLifecyclePolicy, database: SeenDatabase, now: datetime) -> TieringScope:
    """What a run is told beside its order, as it is now; nothing of rules about rows."""
    if not moves_objects(policy.spec):
        return TieringScope()
    transitions = transitions_of("spec.rules[0]", policy.spec.rules[0].action)
    kept = _kept(context, policy, database, now)
    conflicts = tier_conflicts(transitions, kept, _drills(context, database))
    status = database.status
    needed = [
        status.last_proven.backup if status.last_proven else None,
        status.archiver.log_base if status.archiver else None,
    ]
    return TieringScope(
        conflicts=[*_rivals(context, policy), *conflicts][:MOST],
        kept=[longest_kept(one) for one in kept][:MOST],
        keep=sorted({one for one in needed if one is not None}),
    )


def archived_until(context: Context, database: SeenDatabase) -> datetime | None:
    """Up to when backups lie in an archive class, or go there, as the LifecyclePolicies of the database say."""
    namespace, found = database.meta.namespace, []
    for key in context.cache.referring(LIFECYCLE_POLICIES.kind, namespace, f"database:{database.meta.name}"):
        body = context.cache.get(key)
        try:
            known = read.lifecycle_policy(body).status.archived_until if body is not None else None
        except UserFault:
            continue  # said on the policy itself
        if known is not None:
            found.append(known)
    return max(found, default=None)


def _kept(context: Context, policy: SeenLifecyclePolicy, database: SeenDatabase, now: datetime) -> list[RetentionSeen]:
    found = []
    for one in covered(context, database).usable:
        if one.seen.spec.storage_ref.name == policy.spec.storage_ref.name:
            known = one.effective
            spans = [interval(row.cron, known.zone, now) for row in known.schedules]
            found.append(RetentionSeen(one.seen.meta.name, known.retention, max(spans, default=timedelta(0))))
    return found


def _drills(context: Context, database: SeenDatabase) -> Iterator[DrillSeen]:
    for key in drill_keys_of(context, database.meta.namespace, database.meta.name):
        body = context.cache.get(key)
        try:
            drill = read.drill(body) if body is not None else None
            if drill is None or drill.meta.deleting or not drills(context, drill, database):
                continue
            asked = tier_objectives(database.spec.tier, drill.spec.objectives or database.spec.objectives)
        except UserFault:
            continue  # said on the drill itself
        yield DrillSeen(drill.meta.name, str(drill.spec.selection.from_), asked.rto)


def _rivals(context: Context, policy: SeenLifecyclePolicy) -> Iterator[Conflict]:
    """Two policies on one folder would take each other's rules for those of strangers."""
    namespace, spec = policy.meta.namespace, policy.spec
    for key in context.cache.referring(LIFECYCLE_POLICIES.kind, namespace, f"database:{spec.database_ref.name}"):
        body = context.cache.get(key)
        if key.name == policy.meta.name or body is None:
            continue
        try:
            other = read.lifecycle_policy(body)
        except UserFault:
            continue  # said on the policy itself
        if moves_objects(other.spec) and other.spec.storage_ref == spec.storage_ref:
            message = f"LifecyclePolicy {key.name} moves the same backups; one of the two is enough"
            yield Conflict(reason=Reason.TRANSITION_CONFLICT, message=message)
