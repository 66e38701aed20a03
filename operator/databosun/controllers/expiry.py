"""Carry out a policy's retention: show the plan, wait, mark, delete the data by a Job, then the objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupCounts, PendingDeletions
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.controllers.carrying import Carrier, delete_object, unknown_storage
from databosun.controllers.context import Context
from databosun.controllers.holds import Holds, wanted_hold
from databosun.controllers.judging import Judged, judge
from databosun.controllers.matching import readers_of
from databosun.controllers.policies import still_so
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.closure import stood_on
from databosun.domain.conditions import Wanted
from databosun.domain.deletion import Blocked, Go, Nothing, Wait
from databosun.domain.plan import Action
from databosun.domain.policy import RetentionSummary
from databosun.domain.presets import EffectivePolicy
from databosun.domain.retention import RetentionPlan, failed_records_to_trim
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS
from databosun.runtime.queue import Key

FAILED_RECORDS_KEPT = 10


@dataclass(frozen=True, slots=True)
class Expired:
    """What one look at a policy's retention says and does."""

    summary: RetentionSummary
    before: tuple[Action, ...]
    after: tuple[Action, ...]
    wake_at: datetime | None


class Expiry:
    """Retention of one policy, over the chains of all its databases."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._carrier = Carrier(context)
        self._holds = Holds(context)
        self._looked: dict[str, int] = {}

    def wanted(self, seen: SeenPolicy, now: datetime) -> bool:
        """Whether anything happened that retention must look at; saves a list of all records in every other look."""
        signature = self._signature(seen)
        if seen.meta.uid in self._looked:
            changed = self._looked[seen.meta.uid] != signature
        else:
            runs = self._context.finished.of_policy(seen.meta.uid)
            counted = seen.status.backups.total if seen.status.backups else 0
            changed = counted != sum(1 for run in runs if run.succeeded) or any(run.deleting for run in runs)
        due = seen.status.next_retention_time
        moved = seen.status.observed_generation != seen.meta.generation
        return changed or moved or seen.status.pending_deletions is not None or (due is not None and now >= due)

    def _signature(self, seen: SeenPolicy) -> int:
        return hash(tuple((run.name, run.version) for run in self._context.finished.of_policy(seen.meta.uid)))

    async def look(self, key: Key, seen: SeenPolicy, effective: EffectivePolicy, now: datetime) -> Expired | None:
        """Read the records and decide, to the second: that is how a plan is shown and compared. None: the policy is
        another by now than this process had seen, and nothing was done by what it was."""
        now = now.replace(microsecond=0)
        signature = self._signature(seen)
        judged = await judge(self._context, seen, effective, now)
        held = seen.spec.legal_hold
        if judged.moves(policy_holds=held) and not await still_so(self._context, [(BACKUP_POLICIES, seen.meta)]):
            return None
        mine, plan, decision = judged.mine, judged.plan, judged.decision
        by_name = {one.meta.name: one for one in mine}
        readers = readers_of(self._context, seen.meta.namespace, decision.ids) if isinstance(decision, Go) else []
        go = isinstance(decision, Go) and not seen.spec.suspend and not readers
        if isinstance(decision, Go) and go:
            self._context.leadership.assert_fresh()
            for name in decision.ids:
                await self._mark(by_name[name])
        else:
            await self._write_expiry(by_name.values(), plan)
        marked = await self._marked(judged)
        going = _may_go(judged, marked, policy_holds=held)
        carry = await self._carrier.carry_out(key, seen, going, judged.facts, now)
        # Of what a Job may be deleting right now, nobody could say that a hold came in time.
        calm = mine if carry.quiet else [one for one in mine if one.status.phase is not BackupPhase.DELETING]
        settled = await self._holds.settle(key, seen, calm, now)
        trim = tuple(
            delete_object(by_name[name])
            for name in failed_records_to_trim(judged.facts, FAILED_RECORDS_KEPT)
            if name in by_name
        )
        busy = bool(marked) or go or settled.wake_at is not None
        if busy:
            self._looked.pop(seen.meta.uid, None)
        else:
            self._looked[seen.meta.uid] = signature
        said = (carry.problem, settled.problem, unknown_storage(judged.lost))
        problem = "; ".join(dict.fromkeys(one for one in said if one is not None)) or None
        condition = _condition(decision, problem, readers, suspended=seen.spec.suspend)
        summary = RetentionSummary(condition, _changes(decision, mine, plan, now if busy else None))
        wakes = [
            plan.next_change,
            carry.wake_at,
            settled.wake_at,
            decision.until if isinstance(decision, Wait) else None,
            now if go else None,
        ]
        wake_at = min((at for at in wakes if at is not None), default=None)
        after = (*carry.after, *settled.after, *trim)
        return Expired(summary, (*carry.before, *settled.before), after, wake_at)

    async def _marked(self, judged: Judged) -> list[SeenBackup]:
        """What is to be deleted; but what a backup stands on that was given back for a hold is given back with it: its
        data are whole, since none goes before what stands on it."""
        # What a person is deleting has a Job of its own.
        marked = [one for one in judged.mine if one.status.phase is BackupPhase.DELETING and not one.meta.deleting]
        kept = {fact.id for fact in judged.facts if fact.held and fact.succeeded and not fact.deleting}
        needed = stood_on(judged.facts, kept)
        for one in marked:
            if one.meta.name in needed:
                await self._patch(one, one.status.model_copy(update={"phase": BackupPhase.SUCCEEDED}).dump())
        return [one for one in marked if one.meta.name not in needed]

    async def _mark(self, one: SeenBackup) -> None:
        """Write phase Deleting: from here on nobody takes this backup for good."""
        if one.status.phase is BackupPhase.DELETING:
            return
        status = one.status.model_copy(update={"phase": BackupPhase.DELETING}).dump()
        await self._patch(one, status)

    async def _write_expiry(self, backups: Iterable[SeenBackup], plan: RetentionPlan) -> None:
        """Keep `expiresAt` of each record as the plan sees it."""
        for one in backups:
            if one.status.checksum is None or one.meta.deleting or one.status.phase is not BackupPhase.SUCCEEDED:
                continue
            wanted = plan.expires.get(one.meta.name)
            wanted = wanted.replace(microsecond=0) if wanted else None
            if wanted == one.status.expires_at:
                continue
            status = one.status.model_copy(update={"expires_at": wanted}).dump()
            await self._patch(one, status)

    async def _patch(self, one: SeenBackup, status: dict[str, Any]) -> None:
        patch = merge_patch(one.raw_status, status)
        meta = one.meta
        body = await self._context.kube.patch_status(BACKUPS, meta.namespace, meta.name, patch, meta.resource_version)
        self._context.took("Backup", body)


def _may_go(judged: Judged, marked: Sequence[SeenBackup], *, policy_holds: bool) -> list[SeenBackup]:
    """Those of what is marked that no hold lies on, is to lie on, or still has to be taken off; nor stands on them."""
    held = {
        one.meta.name
        for one in judged.mine
        if one.status.hold is not None or wanted_hold(one, policy_holds=policy_holds) is not None
    }
    stays = held | stood_on(judged.facts, held)
    return [one for one in marked if one.meta.name not in stays]


def _condition(decision: object, problem: str | None, readers: Sequence[str], *, suspended: bool) -> Wanted:
    kind = ConditionType.RETENTION_HEALTHY
    if isinstance(decision, Blocked):
        return Wanted(kind, False, "MassDeletion", decision.message)
    if problem is not None:
        return Wanted(kind, False, "DeletionFailed", problem)
    if isinstance(decision, Nothing):
        return Wanted(kind, True, "NothingToDelete", "")
    if suspended:
        return Wanted(kind, True, "Suspended", "retention rests while the policy is suspended")
    if readers:
        return Wanted(kind, True, "InUse", f"{readers[0]} reads what goes next; it goes afterwards")
    return Wanted(kind, True, "Planned", "status.pendingDeletions shows what goes next")


def _changes(
    decision: object, mine: Sequence[SeenBackup], plan: RetentionPlan, busy: datetime | None
) -> dict[str, Any]:
    """What retention writes into the policy's status. While it is at work the next look is due, after a restart too."""
    pending = getattr(decision, "pending", None)
    shown = (
        PendingDeletions(
            names=list(pending.names),
            count=pending.count,
            hash=pending.hash,
            since=pending.since.replace(microsecond=0),
        )
        if pending is not None
        else None
    )
    good = [one for one in mine if one.status.checksum is not None and not one.meta.deleting]
    counts = BackupCounts(
        total=len(good),
        proven=sum(1 for one in good if one.status.proven is not None),
        held=sum(1 for one in good if one.status.hold is not None),
        bytes=sum(one.status.size.stored for one in good if one.status.size is not None),
    )
    soon = busy or (plan.next_change.replace(microsecond=0) if plan.next_change else None)
    return {"pending_deletions": shown, "backups": counts, "next_retention_time": soon}
