"""What there is of a policy's backups, and which of it is to go: looked at cheaply, and live before anything goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.v1alpha1.backup import BackupPhase
from databosun.controllers import holds
from databosun.controllers import seen as read
from databosun.controllers.consent import consents_now, consents_to
from databosun.controllers.context import Context
from databosun.controllers.facts import backup_fact, list_backups, lock_span, of_database, of_policy, storage_holding
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.closure import BackupFact
from databosun.domain.deletion import DeletionDecision, Nothing, PendingPlan, decide_deletion
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_POLICY_UID
from databosun.domain.presets import EffectivePolicy
from databosun.domain.retention import RetentionPlan, decide_retention
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True)
class Judged:
    """`mine`: the policy's own backups. `facts`: of these, and of what others took of the same databases. `lost`: names
    of those of mine whose storage nobody knows."""

    mine: list[SeenBackup]
    facts: list[BackupFact]
    plan: RetentionPlan
    decision: DeletionDecision
    lost: tuple[str, ...]

    def moves(self, *, policy_holds: bool) -> bool:
        """Whether anything is to go, or a hold to change: what is remembered does not do for that."""
        on_its_way = any(one.status.phase is BackupPhase.DELETING for one in self.mine)
        held = any(holds.wanted_hold(one, policy_holds=policy_holds) != one.status.hold for one in self.mine)
        return on_its_way or held or not isinstance(self.decision, Nothing)


async def judge(context: Context, seen: SeenPolicy, effective: EffectivePolicy, now: datetime) -> Judged:
    """Decide by what the API server remembers; where that moves anything, decide anew by what it has."""
    found = await _judge(context, seen, effective, now, live=False)
    if found.moves(policy_holds=seen.spec.legal_hold):
        return await _judge(context, seen, effective, now, live=True)
    return found


async def _judge(
    context: Context, seen: SeenPolicy, effective: EffectivePolicy, now: datetime, *, live: bool
) -> Judged:
    mine = await _mine(context, seen, live=live)
    others = await _strangers(context, seen, mine, live=live)
    places = {one.meta.name: storage_holding(context, one) for one in (*mine, *others)}
    # What lies nobody knows where cannot be deleted; and nothing is let go on the strength of it.
    lost = {one.meta.name for one in mine if one.status.checksum is not None and places[one.meta.name] is None}
    own = {one.meta.name for one in mine} - lost
    held = seen.spec.legal_hold
    facts = [
        backup_fact(one, lock_span(places[one.meta.name]), governed=one.meta.name in own, policy_holds=held)
        for one in (*mine, *others)
    ]
    plan = decide_retention(facts, effective.retention, now, effective.zone)
    shown = seen.status.pending_deletions
    pending = PendingPlan(shown.hash, shown.since, shown.count, tuple(shown.names)) if shown else None
    key = Key(BACKUP_POLICIES.kind, seen.meta.namespace, seen.meta.name)
    decision = decide_deletion(
        plan,
        pending,
        await consents_now(context, key) if live else consents_to(context, key),
        now,
        effective.retention.grace,
    )
    return Judged(mine, facts, plan, decision, tuple(sorted(lost)))


async def _mine(context: Context, seen: SeenPolicy, *, live: bool) -> list[SeenBackup]:
    """The policy's runs; read only where there are any."""
    meta = seen.meta
    unfinished = context.cache.referring("Backup", meta.namespace, f"policy:{meta.name}")
    if not unfinished and not context.finished.of_policy(meta.uid):
        return []
    return await _read(context, meta.namespace, of_policy(meta.uid), live=live)


async def _strangers(context: Context, seen: SeenPolicy, mine: Sequence[SeenBackup], *, live: bool) -> list[SeenBackup]:
    """The same databases' backups of other policies or by hand: never let go here, what they stand on is kept."""
    found: list[SeenBackup] = []
    for uid in {one.meta.labels.get(LABEL_DATABASE_UID, "") for one in mine} - {""}:
        all_of_it = await _read(context, seen.meta.namespace, of_database(uid), live=live)
        found += [one for one in all_of_it if one.meta.labels.get(LABEL_POLICY_UID) != seen.meta.uid]
    return found


async def _read(context: Context, namespace: str, selector: str, *, live: bool) -> list[SeenBackup]:
    """Backups by label: live, or cheaply, from what the API server remembers, no older than what was told here."""
    if live:
        return await list_backups(context, namespace, selector)
    newest = context.finished.newest
    bodies = context.kube.list_remembered(BACKUPS, namespace, label_selector=selector, since=newest)
    return [read.backup(body) async for body in bodies]
