"""Delete the data of what retention has marked: a Job for one database and the storage that holds them at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
from databosun.controllers.setbacks import Setback, Setbacks
from databosun.domain.attempt import DEADLINE_MARGIN, Ending
from databosun.domain.closure import BackupFact, stood_on
from databosun.domain.names import task_job_name
from databosun.domain.plan import LABEL_STORAGE_UID, Action, DeleteObject, PostEvent, StartJob
from databosun.domain.requests import storage_target
from databosun.runtime.queue import Key

TASK = "delete"
MAX_PER_JOB = 200
NAMED = 5
# What is locked or held stays so for long.
LONGEST_PAUSE = timedelta(hours=6)


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


class Carrier:
    """Deletes the data of what is marked, then the objects whose data are gone; one Job at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._setbacks = Setbacks(LONGEST_PAUSE)

    async def carry_out(
        self, key: Key, seen: SeenPolicy, marked: Sequence[SeenBackup], facts: Sequence[BackupFact], now: datetime
    ) -> Carried:
        """One step. What could not be deleted rests for a while, and with it all that stands on it or that it stands
        on; meanwhile the others go."""
        context = self._context
        setbacks = self._setbacks.of(seen.meta.uid, {one.meta.uid for one in marked})
        stuck = {one.meta.name: setbacks[one.meta.uid] for one in marked if one.meta.uid in setbacks}
        rests = _until(marked, facts, stuck)
        batches, lost = _batches(context, seen, [one for one in marked if rests.get(one.meta.name, now) <= now], rests)
        problem = "; ".join(one for one in (_stuck(marked, stuck, rests), lost) if one is not None) or None
        if not batches:
            found = await errand.look(context, key, seen.meta, TASK, "")
            wakes = [*rests.values(), *(() if found.alone else (now + errand.LOOK_AGAIN,))]
            return Carried(after=found.leftovers, wake_at=min(wakes, default=None), problem=problem, quiet=found.alone)
        batch = batches[0]
        uids = [seen.meta.uid, batch.database, *sorted(batch.names)]
        name = task_job_name(TASK, seen.meta.name, "/".join(uids))
        found = await errand.look(context, key, seen.meta, TASK, name)
        if found.ending is not None and found.job is not None:
            carried = await self._ended(seen, batch, found, found.ending, now)
        else:
            carried = _step(context, key, seen, batch, (name, found), now)
        return replace(carried, problem=carried.problem or problem, quiet=found.alone)

    async def _ended(
        self, seen: SeenPolicy, batch: _Batch, found: errand.Errand, ending: Ending, now: datetime
    ) -> Carried:
        deleted = (ending.result.deleted or []) if ending.result is not None else []
        # In a storage that was made anew under the same name, what is not there may lie where the old one was.
        storage = batch.storage.meta
        moved = {one.meta.name for one in batch.backups if one.meta.labels.get(LABEL_STORAGE_UID) != storage.uid}
        elsewhere = [one.id for one in deleted if one.absent and one.id in moved]
        gone = {one.id for one in deleted if one.deleted} - set(elsewhere)
        why = _problem(ending.reason, ending.message, [one for one in deleted if not one.deleted])
        if elsewhere:
            why = (
                f"nothing of {min(elsewhere)} is in BackupStorage {storage.name}, which was made anew since:"
                f" {len(elsewhere)} may lie where it led before. Let it lead there, or delete the Backup objects"
            )
        kept = [one.meta.uid for one in batch.backups if one.meta.name not in gone]
        self._setbacks.note(seen.meta.uid, kept, why, now)
        objects = tuple(delete_object(one) for one in batch.backups if one.meta.name in gone)
        absent = tuple(_absent(one, batch) for one in deleted if one.absent and one.id in gone)
        dismissed = await errand.dismiss(self._context, seen.meta, found.job) if found.job is not None else ()
        # The next batch is due at once; what is wrong with this one is said from then on.
        return Carried((), (*objects, *absent, *dismissed, *found.leftovers), now, why if kept else None)


def _until(
    marked: Sequence[SeenBackup], facts: Sequence[BackupFact], stuck: Mapping[str, Setback]
) -> dict[str, datetime]:
    """Until when what is stuck rests, and with it what stands on it and what it stands on: these are tried together
    again, children first."""
    until: dict[str, datetime] = {}
    below = {one.meta.name: stood_on(facts, {one.meta.name}) for one in marked} if stuck else {}
    for name, setback in stuck.items():
        above = {other for other, under in below.items() if name in under}
        for other in {name, *(above | below[name]) & below.keys()}:
            until[other] = max(until.get(other, setback.until), setback.until)
    return until


def _stuck(marked: Sequence[SeenBackup], stuck: Mapping[str, Setback], rests: Mapping[str, datetime]) -> str | None:
    """What cannot be deleted, why, and how much waits."""
    if not stuck:
        return None
    whys = list(dict.fromkeys(stuck[name].why for name in sorted(stuck)))
    databases = sorted({read.database_name(one) for one in marked if one.meta.name in rests})
    named = ", ".join(databases[:NAMED]) + (" and others" if len(databases) > NAMED else "")
    return (
        f"{'; '.join(whys[:NAMED])}. {len(rests)} of {len(marked)} backups that are to go wait, of {named}; next try:"
        f" {min(rests.values()).isoformat()}"
    )


def _batches(
    context: Context, seen: SeenPolicy, marked: Sequence[SeenBackup], rested: Mapping[str, datetime]
) -> tuple[list[_Batch], str | None]:
    """By database and storage; and what is wrong with those whose storage nobody knows. What was stuck before comes
    last, and apart: it holds up nothing else. Then what lies in the storage that the policy names comes first."""
    groups: defaultdict[tuple[bool, bool, str, str], list[SeenBackup]] = defaultdict(list)
    storages: dict[str, SeenStorage] = {}
    lost = []
    for one in marked:
        storage = storage_holding(context, one)
        if storage is None:
            lost.append(one.meta.name)
            continue
        place, other = storage.meta.name, storage.meta.name != seen.spec.storage_ref.name
        storages[place] = storage
        groups[one.meta.name in rested, other, place, read.database_name(one)].append(one)
    batches = [
        _Batch(of, storages[place], _children_first(groups[at])[:MAX_PER_JOB])
        for at in sorted(groups)
        for _, _, place, of in (at,)
    ]
    return batches, unknown_storage(lost)


def unknown_storage(names: Sequence[str]) -> str | None:
    """What to say of backups whose storage is not known; None where there are none."""
    if not names:
        return None
    return (
        f"{len(names)} backups are in a BackupStorage that is not known here, such as {min(names)}: nothing of them is"
        " deleted. Create that BackupStorage again under its name, or delete the Backup objects: the data stay"
    )


def _step(
    context: Context, key: Key, seen: SeenPolicy, batch: _Batch, at: tuple[str, errand.Errand], now: datetime
) -> Carried:
    name, found = at
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
