"""Carry out a policy's retention: show the plan, wait, mark, delete the data by a Job, then the objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.backuptasks import DeleteTask
from databosun.api.request import Request
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupCounts, PendingDeletions
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.controllers import errand, holds
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.covering import login_of
from databosun.controllers.facts import cached_storage
from databosun.controllers.judging import judge
from databosun.controllers.matching import readers_of
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.conditions import Wanted
from databosun.domain.deletion import Blocked, Go, Nothing, Wait
from databosun.domain.names import task_job_name
from databosun.domain.plan import Action, DeleteObject
from databosun.domain.policy import RetentionSummary
from databosun.domain.presets import EffectivePolicy
from databosun.domain.requests import storage_target
from databosun.domain.retention import RetentionPlan, failed_records_to_trim
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key

FAILED_RECORDS_KEPT = 10
MAX_PER_JOB = 200


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

    async def look(self, key: Key, seen: SeenPolicy, effective: EffectivePolicy, now: datetime) -> Expired:
        """Read the records and decide, to the second: that is how a plan is shown and compared."""
        now = now.replace(microsecond=0)
        signature = self._signature(seen)
        judged = await judge(self._context, seen, effective, now)
        mine, plan, decision = judged.mine, judged.plan, judged.decision
        storage = cached_storage(self._context, seen.meta.namespace, seen.spec.storage_ref.name)
        by_name = {one.meta.name: one for one in mine}
        readers = readers_of(self._context, seen.meta.namespace, decision.ids) if isinstance(decision, Go) else []
        go = isinstance(decision, Go) and not seen.spec.suspend and not readers
        if isinstance(decision, Go) and go:
            self._context.leadership.assert_fresh()
            for name in decision.ids:
                await self._mark(by_name[name])
        else:
            await self._write_expiry(by_name.values(), plan)
        # What a person is deleting has a Job of its own.
        marked = [one for one in mine if one.status.phase is BackupPhase.DELETING and not one.meta.deleting]
        carry = await self._carry_out(key, seen, marked, now)
        settled = await holds.settle(
            self._context, key, seen.meta, "BackupPolicy", mine, storage, policy_holds=seen.spec.legal_hold, now=now
        )
        trim = tuple(
            _delete(by_name[name])
            for name in failed_records_to_trim(judged.facts, FAILED_RECORDS_KEPT)
            if name in by_name
        )
        busy = bool(marked) or go or settled.wake_at is not None
        if busy:
            self._looked.pop(seen.meta.uid, None)
        else:
            self._looked[seen.meta.uid] = signature
        condition = _condition(decision, carry.problem or settled.problem, readers, suspended=seen.spec.suspend)
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

    async def _carry_out(self, key: Key, seen: SeenPolicy, marked: Sequence[SeenBackup], now: datetime) -> _Carry:
        """Delete the data of what is marked, one database at a time, then the objects whose data are gone."""
        if not marked:
            found = await errand.look(self._context, key, seen.meta, "delete", "")
            return _Carry((), found.leftovers, None, None)
        by_database: defaultdict[str, list[SeenBackup]] = defaultdict(list)
        for one in marked:
            by_database[read.database_name(one)].append(one)
        database, batch = min(by_database.items())
        batch = _children_first(batch)[:MAX_PER_JOB]
        names = [one.meta.name for one in batch]
        name = task_job_name("delete", seen.meta.name, "/".join([seen.meta.uid, database, *sorted(names)]))
        found = await errand.look(self._context, key, seen.meta, "delete", name)
        if found.ending is not None and found.job is not None:
            deleted = (found.ending.result.deleted or []) if found.ending.result is not None else []
            gone = {one.id for one in deleted if one.deleted}
            objects = tuple(_delete(one) for one in batch if one.meta.name in gone)
            stuck = [one for one in deleted if not one.deleted]
            problem = (
                None
                if found.ending.succeeded and not stuck
                else _problem(found.ending.reason, found.ending.message, stuck)
            )
            retry = now + errand.LOOK_AGAIN if objects or found.ending.retryable else None
            dismissed = (
                await errand.dismiss(self._context, seen.meta, found.job) if gone == set(names) or objects else ()
            )
            return _Carry((), (*objects, *dismissed, *found.leftovers), retry or now + 20 * errand.LOOK_AGAIN, problem)
        if found.job is not None:
            return _Carry((), found.leftovers, min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN), None)
        if readers_of(self._context, seen.meta.namespace, names):
            # It was chosen while the plan was being marked; once marked, nobody begins to read it.
            return _Carry((), found.leftovers, now + errand.LOOK_AGAIN, None)
        order = self._order(seen, database, names, name, now)
        if order is None:
            return _Carry(
                (), (), None, f"BackupStorage {seen.spec.storage_ref.name} is not known: no data can be deleted"
            )
        self._context.leadership.assert_fresh()
        self._context.workers.setdefault(key, set()).add(f"Job/{name}")
        return _Carry((order,), found.leftovers, now + errand.LOOK_AGAIN, None)

    def _order(self, seen: SeenPolicy, database: str, names: list[str], job: str, now: datetime) -> Any:
        storage = cached_storage(self._context, seen.meta.namespace, seen.spec.storage_ref.name)
        image = self._context.images.any_runner()
        if storage is None or image is None:
            return None
        target, secrets = storage_target(storage.meta.named, storage.spec, self._context.cluster_id)
        login, more = login_of(self._context, seen.meta.namespace, database)
        request = Request(
            run=seen.meta.name,
            deadline=errand.deadline(now, 6 * errand.ERRAND_DEADLINE),
            database=login,
            storage=target,
            secrets=[*secrets, *more],
            image=image,
            job=DeleteTask(database=database, ids=names),
        )
        claim = storage.spec.claim
        return errand.order(
            seen.meta, "BackupPolicy", job, request, image, pod_template=seen.spec.pod_template, storage_claim=claim
        )


@dataclass(frozen=True, slots=True)
class _Carry:
    before: tuple[Action, ...]
    after: tuple[Action, ...]
    wake_at: datetime | None
    problem: str | None


def _delete(one: SeenBackup) -> DeleteObject:
    return DeleteObject(
        "Backup", one.meta.namespace, one.meta.name, one.meta.uid, one.meta.resource_version, one.meta.finalizers
    )


def _children_first(batch: Sequence[SeenBackup]) -> list[SeenBackup]:
    return sorted(batch, key=lambda one: (-(one.status.chain_length or 0), one.meta.name))


def _problem(reason: str, message: str, stuck: Sequence[Any]) -> str:
    if stuck:
        first = stuck[0]
        until = f" until {first.locked_until.isoformat()}" if first.locked_until else ""
        return f"{len(stuck)} backups could not be deleted; {first.id}: {first.message or 'locked'}{until}"
    return f"{reason}: {message}"


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
