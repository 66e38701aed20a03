"""Delete the data of what retention has marked: a Job for one database and the storage that holds them at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from databosun.api.backuptasks import DeleteTask
from databosun.api.request import Request
from databosun.api.result import DeletedBackup
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.covering import login_of
from databosun.controllers.facts import storage_holding
from databosun.controllers.matching import readers_of
from databosun.controllers.seen import SeenBackup, SeenPolicy, SeenStorage
from databosun.domain.attempt import DEADLINE_MARGIN, Ending
from databosun.domain.names import task_job_name
from databosun.domain.plan import LABEL_STORAGE_UID, Action, DeleteObject, PostEvent, StartJob
from databosun.domain.requests import storage_target
from databosun.runtime.queue import Key

TASK = "delete"
MAX_PER_JOB = 200


@dataclass(frozen=True, slots=True)
class Carried:
    """What is to be done now, and when to look again. `quiet`: no Job that was started for other backups than these is
    there any more, nor its pod."""

    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    problem: str | None = None
    quiet: bool = True


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one Job deletes, children first."""

    database: str
    storage: SeenStorage
    backups: Sequence[SeenBackup]

    @property
    def names(self) -> list[str]:
        return [one.meta.name for one in self.backups]


async def carry_out(
    context: Context, key: Key, seen: SeenPolicy, marked: Sequence[SeenBackup], now: datetime
) -> Carried:
    """Delete the data of what is marked, then the objects whose data are gone."""
    batches, lost = _batches(context, seen, marked)
    if not batches:
        found = await errand.look(context, key, seen.meta, TASK, "")
        wake_at = None if found.alone else now + errand.LOOK_AGAIN
        return Carried(after=found.leftovers, wake_at=wake_at, problem=lost, quiet=found.alone)
    batch = batches[0]
    uids = [seen.meta.uid, batch.database, *sorted(batch.names)]
    name = task_job_name(TASK, seen.meta.name, "/".join(uids))
    found = await errand.look(context, key, seen.meta, TASK, name)
    carried = await _step(context, key, seen, batch, (name, found), now)
    return replace(carried, problem=carried.problem or lost, quiet=found.alone)


def _batches(context: Context, seen: SeenPolicy, marked: Sequence[SeenBackup]) -> tuple[list[_Batch], str | None]:
    """By database and storage; and what is wrong with those whose storage nobody knows. What lies in the storage that
    the policy names comes first: one that was given up, and does not answer, holds up nothing else."""
    groups: defaultdict[tuple[str, str], list[SeenBackup]] = defaultdict(list)
    storages: dict[str, SeenStorage] = {}
    lost = []
    for one in marked:
        storage = storage_holding(context, one)
        if storage is None:
            lost.append(one.meta.name)
            continue
        storages[storage.meta.name] = storage
        groups[storage.meta.name, read.database_name(one)].append(one)
    order = sorted(groups, key=lambda at: (at[0] != seen.spec.storage_ref.name, at))
    batches = [_Batch(at[1], storages[at[0]], _children_first(groups[at])[:MAX_PER_JOB]) for at in order]
    return batches, unknown_storage(lost)


def unknown_storage(names: Sequence[str]) -> str | None:
    """What to say of backups whose storage is not known; None where there are none."""
    if not names:
        return None
    return (
        f"{len(names)} backups are in a BackupStorage that is not known here, such as {min(names)}: nothing of them is"
        " deleted. Create that BackupStorage again under its name, or delete the Backup objects: the data stay"
    )


async def _step(
    context: Context, key: Key, seen: SeenPolicy, batch: _Batch, at: tuple[str, errand.Errand], now: datetime
) -> Carried:
    name, found = at
    if found.ending is not None and found.job is not None:
        return await _ended(context, seen, batch, found, found.ending, now)
    if found.job is not None:
        wake_at = min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        return Carried(after=found.leftovers, wake_at=wake_at)
    if readers_of(context, seen.meta.namespace, batch.names):
        # It was chosen while the plan was being marked; once marked, nobody begins to read it.
        return Carried(after=found.leftovers, wake_at=now + errand.LOOK_AGAIN)
    job = _order(context, seen, batch, name, now)
    if job is None:
        return Carried(after=found.leftovers, problem="no image is known that could delete data")
    context.leadership.assert_fresh()
    context.workers.setdefault(key, set()).add(f"Job/{name}")
    return Carried((job,), found.leftovers, now + errand.LOOK_AGAIN)


async def _ended(
    context: Context, seen: SeenPolicy, batch: _Batch, found: errand.Errand, ending: Ending, now: datetime
) -> Carried:
    deleted = (ending.result.deleted or []) if ending.result is not None else []
    stuck = [one for one in deleted if not one.deleted]
    # In a storage that was made anew under the same name, what is not there may lie where the old one was.
    moved = {one.meta.name for one in batch.backups if one.meta.labels.get(LABEL_STORAGE_UID) != batch.storage.meta.uid}
    elsewhere = [one.id for one in deleted if one.absent and one.id in moved]
    gone = {one.id for one in deleted if one.deleted} - set(elsewhere)
    problem = None if ending.succeeded and not stuck else _problem(ending.reason, ending.message, stuck)
    if elsewhere:
        problem = (
            f"nothing of {min(elsewhere)} is in BackupStorage {batch.storage.meta.name}, which was made anew since:"
            f" {len(elsewhere)} backups may lie where it led before. Let it lead there, or delete the Backup objects"
        )
    objects = tuple(delete_object(one) for one in batch.backups if one.meta.name in gone)
    absent = tuple(_absent(one, batch) for one in deleted if one.absent and one.id in gone)
    retry = now + errand.LOOK_AGAIN if objects or ending.retryable else None
    over = found.job is not None and (gone == set(batch.names) or bool(objects))
    dismissed = await errand.dismiss(context, seen.meta, found.job) if found.job is not None and over else ()
    after = (*objects, *absent, *dismissed, *found.leftovers)
    return Carried((), after, retry or now + 20 * errand.LOOK_AGAIN, problem)


def _absent(one: DeletedBackup, batch: _Batch) -> PostEvent:
    message = (
        f"nothing of {one.id} was in BackupStorage {batch.storage.meta.name} when its data were to be deleted: an"
        " earlier try had deleted them, or somebody else did"
    )
    return PostEvent("DataMissing", message, warning=True)


def _order(context: Context, seen: SeenPolicy, batch: _Batch, job: str, now: datetime) -> StartJob | None:
    image = context.images.any_runner()
    if image is None:
        return None
    storage = batch.storage
    target, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    login, more = login_of(context, seen.meta.namespace, batch.database)
    request = Request(
        run=seen.meta.name,
        deadline=errand.deadline(now, 6 * errand.ERRAND_DEADLINE),
        database=login,
        storage=target,
        secrets=[*secrets, *more],
        image=image,
        job=DeleteTask(database=batch.database, ids=batch.names),
    )
    template, claim = seen.spec.pod_template, storage.spec.claim
    return errand.order(seen.meta, "BackupPolicy", job, request, image, pod_template=template, storage_claim=claim)


def delete_object(one: SeenBackup) -> DeleteObject:
    """The record goes, if it is still as it was read."""
    return DeleteObject(
        "Backup", one.meta.namespace, one.meta.name, one.meta.uid, one.meta.resource_version, one.meta.finalizers
    )


def _children_first(batch: Sequence[SeenBackup]) -> list[SeenBackup]:
    return sorted(batch, key=lambda one: (-(one.status.chain_length or 0), one.meta.name))


def _problem(reason: str, message: str, stuck: Sequence[DeletedBackup]) -> str:
    if stuck:
        first = stuck[0]
        until = f" until {first.locked_until.isoformat()}" if first.locked_until else ""
        return f"{len(stuck)} backups could not be deleted; {first.id}: {first.message or 'locked'}{until}"
    return f"{reason}: {message}"
