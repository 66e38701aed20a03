"""Copy legal holds to the bucket, so that they outlive the cluster: `hold.json` beside each held backup."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import HoldTask
from databosun.api.request import Request
from databosun.api.v1alpha1.backup import BackupPhase, Hold
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.facts import storage_holding
from databosun.controllers.seen import SeenBackup, SeenPolicy, SeenStorage
from databosun.controllers.setbacks import Setback, Setbacks
from databosun.domain.attempt import DEADLINE_MARGIN, Ending
from databosun.domain.names import task_job_name
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_HOLD, Action, StartJob
from databosun.domain.requests import storage_target
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key

POLICY_HOLD = "legalHold of the policy"
TASK = "hold"
MOST = 200
# A backup that is not in its storage will not be there a minute later either.
MISSING_AGAIN = timedelta(hours=1)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be done about holds now, and when to look again."""

    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one Job holds, for one reason, or releases."""

    storage: SeenStorage
    database: str
    reason: str | None
    held: bool
    backups: Sequence[SeenBackup]

    @property
    def names(self) -> list[str]:
        return [one.meta.name for one in self.backups]


def wanted_hold(one: SeenBackup, *, policy_holds: bool) -> Hold | None:
    """The hold that should lie on a backup: its own label's first, else its policy's."""
    if one.meta.labels.get(LABEL_HOLD) == "true":
        return Hold(reason=one.meta.annotations.get(ANNOTATION_HOLD_REASON) or None)
    return Hold(reason=POLICY_HOLD) if policy_holds else None


class Holds:
    """Brings `hold.json` and `status.hold` of good backups in line with labels and policies, one Job at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._missing: dict[str, datetime] = {}
        """Backups, by uid, that the store was seen to lack, and when to look again."""
        self._setbacks = Setbacks(LONGEST_PAUSE)

    async def settle(self, key: Key, policy: SeenPolicy, backups: Sequence[SeenBackup], now: datetime) -> Settled:
        """One step. None of `backups` may be such as a Job is deleting right now.

        A backup that was to be deleted is given back once its hold lies in the store: the agent found its manifest
        there, which is the first that goes.
        """
        context = self._context
        differ = [one for one in backups if _differs(one, policy_holds=policy.spec.legal_hold)]
        self._missing = {uid: at for uid, at in self._missing.items() if at > now}
        missing = [one for one in differ if one.meta.uid in self._missing]
        tried = {one.meta.name: _tried(one, policy) for one in differ}
        setbacks = self._setbacks.of(policy.meta.uid, tried.values())
        failed = {one.meta.name: setbacks[tried[one.meta.name]] for one in differ if tried[one.meta.name] in setbacks}
        rests = {one.meta.name for one in missing} | {name for name, setback in failed.items() if setback.until > now}
        batches, lost = _batches(context, policy, [one for one in differ if one.meta.name not in rests], failed)
        said = (_failed(policy, differ, failed), _not_there(missing[0]) if missing else None, lost)
        problem = "; ".join(one for one in said if one is not None) or None
        if not batches:
            found = await errand.look(context, key, policy.meta, TASK, "")
            again = [*(self._missing[one.meta.uid] for one in missing), *(one.until for one in failed.values())]
            return Settled(after=found.leftovers, wake_at=min(again, default=None), problem=problem)
        settled = await self._step(key, policy, batches[0], now)
        return replace(settled, problem=settled.problem or problem)

    async def _step(self, key: Key, policy: SeenPolicy, batch: _Batch, now: datetime) -> Settled:
        context = self._context
        uids = [policy.meta.uid, batch.database, str(batch.held), batch.reason or "", *batch.names]
        name = task_job_name(TASK, policy.meta.name, "/".join(uids))
        found = await errand.look(context, key, policy.meta, TASK, name)
        if found.ending is not None and found.job is not None:
            settled = await self._ended(policy, batch, found.ending, now)
            dismissed = await errand.dismiss(context, policy.meta, found.job)
            return replace(settled, after=(*dismissed, *found.leftovers))
        if found.job is not None:
            return Settled((), found.leftovers, min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN))
        order = _order(context, policy, batch, name, now)
        if order is None:
            return Settled(problem="holds cannot be written to the store: no runner image is known")
        context.workers.setdefault(key, set()).add(f"Job/{name}")
        return Settled((order,), found.leftovers, now + errand.LOOK_AGAIN)

    async def _ended(self, policy: SeenPolicy, batch: _Batch, ending: Ending, now: datetime) -> Settled:
        if not ending.succeeded:
            tried = [_tried(one, policy) for one in batch.backups]
            self._setbacks.note(policy.meta.uid, tried, f"{ending.reason}: {ending.message}", now)
            # The next batch is due at once; what is wrong with this one is said from then on.
            return Settled(wake_at=now)
        done = set((ending.result.held or []) if ending.result is not None else [])
        for one in batch.backups:
            if one.meta.name in done:
                await _note(self._context, one, Hold(reason=batch.reason) if batch.held else None)
            else:
                self._missing[one.meta.uid] = now + MISSING_AGAIN
        return Settled(wake_at=now)


def _differs(one: SeenBackup, *, policy_holds: bool) -> bool:
    wanted = wanted_hold(one, policy_holds=policy_holds)
    return one.status.checksum is not None and not one.meta.deleting and wanted != one.status.hold


def _tried(one: SeenBackup, policy: SeenPolicy) -> str:
    """What is attempted on a backup: a hold for another reason is another attempt, and so is taking it off."""
    wanted = wanted_hold(one, policy_holds=policy.spec.legal_hold)
    return f"{one.meta.uid}/off" if wanted is None else f"{one.meta.uid}/on/{wanted.reason or ''}"


def _failed(policy: SeenPolicy, differ: Sequence[SeenBackup], failed: Mapping[str, Setback]) -> str | None:
    """What the bucket does not have yet, and then what it has still."""
    said = []
    for held in (True, False):
        those = [
            one
            for one in differ
            if one.meta.name in failed and (wanted_hold(one, policy_holds=policy.spec.legal_hold) is not None) is held
        ]
        if those:
            said.append(_words(those, failed, held=held))
    return "; ".join(said) or None


def _words(those: Sequence[SeenBackup], failed: Mapping[str, Setback], *, held: bool) -> str:
    name = min(one.meta.name for one in those)
    more = f" and of {len(those) - 1} more" if len(those) > 1 else ""
    state = "is not in the bucket" if held else "was taken off, but is still in the bucket"
    right = "write" if held else "delete"
    again = min(failed[one.meta.name].until for one in those).isoformat()
    return (
        f"the hold of {name}{more} {state}: {failed[name].why}. Whoever runs the store must see that it answers and"
        f" that the login of the BackupStorage may {right} hold.json there; next try: {again}"
    )


def _not_there(one: SeenBackup) -> str:
    return (
        f"the hold of {one.meta.name} is not as its label or policy says: its storage has no backup of that name; the"
        " data lie where that BackupStorage led before, or are gone: then delete the Backup object"
    )


def _batches(
    context: Context, policy: SeenPolicy, backups: Sequence[SeenBackup], failed: Mapping[str, Setback]
) -> tuple[list[_Batch], str | None]:
    """By database, storage and reason; and what to say of those whose storage nobody knows. What failed before comes
    last, and apart: it holds up nothing else. Then what lies in the storage that the policy names comes first, and
    holds come before what takes them off."""
    groups: defaultdict[tuple[bool, bool, str, bool, str, str], list[SeenBackup]] = defaultdict(list)
    storages: dict[str, SeenStorage] = {}
    problem = None
    for one in backups:
        storage = storage_holding(context, one)
        if storage is None:
            problem = f"no hold can be written beside {one.meta.name}: its BackupStorage is not known here"
            continue
        storages[storage.meta.name] = storage
        wanted = wanted_hold(one, policy_holds=policy.spec.legal_hold)
        reason = (wanted.reason or "") if wanted is not None else ""
        place, other = storage.meta.name, storage.meta.name != policy.spec.storage_ref.name
        groups[one.meta.name in failed, other, place, wanted is None, read.database_name(one), reason].append(one)
    return [
        _Batch(storages[place], of, why or None, not off, sorted(groups[at], key=lambda one: one.meta.name)[:MOST])
        for at in sorted(groups)
        for _, _, place, off, of, why in (at,)
    ], problem


async def _note(context: Context, one: SeenBackup, hold: Hold | None) -> None:
    update: dict[str, Any] = {"hold": hold}
    if hold is not None and one.status.phase is BackupPhase.DELETING:
        update["phase"] = BackupPhase.SUCCEEDED
    patch = merge_patch(one.raw_status, one.status.model_copy(update=update).dump())
    meta = one.meta
    body = await context.kube.patch_status(BACKUPS, meta.namespace, meta.name, patch, meta.resource_version)
    context.took("Backup", body)


def _order(context: Context, policy: SeenPolicy, batch: _Batch, job: str, now: datetime) -> StartJob | None:
    image = context.images.any_runner()
    if image is None:
        return None
    storage = batch.storage
    target, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    task = HoldTask(database=batch.database, ids=batch.names, reason=(batch.reason or "") if batch.held else None)
    request = Request(
        run=policy.meta.name,
        deadline=errand.deadline(now),
        storage=target,
        secrets=list(secrets),
        image=image,
        job=task,
    )
    template, claim = storage.spec.pod_template, storage.spec.claim
    return errand.order(policy.meta, "BackupPolicy", job, request, image, pod_template=template, storage_claim=claim)
