"""What holds a person after an erasure: Backup objects are counted, and the stores looked through for what has none.

A Job looks through one store at a time. That it was told to, and how much it leaves out, is written down before it is
there; what it found counts from that instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.remains import MOST_MARKS, RemainsTask
from databosun.api.request import Request
from databosun.api.v1alpha1.erasurerequest import ErasureRemains, StoreSearch
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.keepers import BackupsThere, backups_of, kept_of, under_way
from databosun.controllers.seen import SeenDatabase, SeenErasure, SeenStorage
from databosun.domain.attempt import DEADLINE_MARGIN, Ending
from databosun.domain.conditions import merge_conditions
from databosun.domain.erasure import MARGIN
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import LABEL_DATABASE_UID, Action, Plan, StartJob
from databosun.domain.remains import CLEARED, Kept, copy_mark, holds, proven, remains
from databosun.domain.requests import storage_target
from databosun.domain.searching import (
    Store,
    next_search,
    not_searched,
    ordered,
    searched,
    searches_condition,
    seen_stores,
    strayed,
)
from databosun.domain.whereabouts import place_of
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, ERASURE_REQUESTS
from databosun.runtime.queue import Key

TASK = "remains"
SEARCH_DEADLINE = timedelta(hours=1)
LOOK_AGAIN = timedelta(hours=12)
"""How often it is reckoned what holds the person still."""
MOST_PLACE = 500
AT_ONCE = 4
"""How many look through a store at once: after an upgrade all erasures of years may want to."""
TURN_AGAIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an erasure is seen with. `storages`: one for each place; `others`: servers of other Databases, by name."""

    verified: datetime
    database: SeenDatabase | None
    others: dict[str, str]
    backups: BackupsThere
    kept: tuple[Kept, ...]
    storages: dict[str, SeenStorage]
    stores: tuple[Store, ...]

    @property
    def holding(self) -> int:
        """How many Backup objects hold the person."""
        return sum(1 for one in self.kept if holds(one.at, self.verified))


class Reckoner:
    """Erasures that are over."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, ERASURE_REQUESTS)
        self._at_work: dict[Key, datetime] = {}
        """Whose Job is looking, and until when at most; what an operator before this one began comes on top of it."""

    async def reconcile(self, key: Key, seen: SeenErasure) -> datetime | None:
        """One look at one of them; None: nothing can change any more."""
        known, verified = seen.status.remains, seen.status.verified_time
        if known is None or verified is None:
            return None
        if proven(known):
            await self._applier.apply(seen.meta, seen.raw_status, Plan(after=await self._leftovers(key, seen)))
            return None
        now = self._context.clock.now()
        if not self._has_turn(key, known, now):
            return now + TURN_AGAIN
        around = await self._gather(seen, verified)
        searches = seen_stores(known.stores, around.stores, self._strayed(seen, around))
        due = next_search(searches, around.storages, around.holding, now)
        if due.search is None:
            self._at_work.pop(key, None)
            return await self._write(seen, around, searches, due.at, after=await self._leftovers(key, seen))
        if not due.search.under_way:
            return await self._order(seen, around, searches, due.search)
        return await self._watch(key, seen, around, searches, due.search)

    def _has_turn(self, key: Key, known: ErasureRemains, now: datetime) -> bool:
        """Whether a look may begin, or is under way. Nothing is awaited between the answer and the claim."""
        self._at_work = {one: until for one, until in self._at_work.items() if until > now}
        if key not in self._at_work and len(self._at_work) >= AT_ONCE:
            return any(one.under_way for one in known.stores)
        self._at_work[key] = now + SEARCH_DEADLINE + DEADLINE_MARGIN
        return True

    async def _watch(
        self, key: Key, seen: SeenErasure, around: Surroundings, searches: list[StoreSearch], one: StoreSearch
    ) -> datetime | None:
        now = self._context.clock.now()
        found = await errand.look(self._context, key, seen.meta, TASK, _job_name(seen, one))
        if found.job is None:
            # The process died before it was there, or somebody deleted it.
            lost = not_searched(one, "its Job is not there any more", now)
            return await self._write(seen, around, _with(searches, lost), now, after=found.leftovers)
        if found.ending is None:
            await self._write(seen, around, searches, None, after=found.leftovers)
            return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        self._at_work.pop(key, None)
        after = (*await errand.dismiss(self._context, seen.meta, found.job), *found.leftovers)
        return await self._write(seen, around, _with(searches, _judged(one, found.ending, now)), now, after=after)

    async def _order(
        self, seen: SeenErasure, around: Surroundings, searches: list[StoreSearch], one: StoreSearch
    ) -> datetime | None:
        now = self._context.clock.now()
        marks, excluded = self._marks(around, one.place)
        try:
            if len(marks) > MOST_MARKS:
                message = f"{len(marks)} backups with objects are too many to be told apart; expected {MOST_MARKS}"
                raise UserFault(Reason.STORE_NOT_SEARCHED, message)
            asked = ordered(one, excluded, now)
            job = self._job(seen, around, asked, marks)
        except UserFault as fault:
            failed = not_searched(one, f"{fault.reason}: {fault.message}", now)
            return await self._write(seen, around, _with(searches, failed), now)
        key = Key(ERASURE_REQUESTS.kind, seen.meta.namespace, seen.meta.name)
        self._context.workers.setdefault(key, set()).add(f"Job/{job.name}")
        try:
            await self._write(seen, around, _with(searches, asked), None, after=(job,))
        except (UserFault, QuotaExceeded) as fault:
            body = await self._context.kube.get(ERASURE_REQUESTS, seen.meta.namespace, seen.meta.name)
            if body is None:
                return None
            failed = not_searched(asked, f"{fault.reason}: {fault.message}", now)
            return await self._write(read.erasure(body), around, _with(searches, failed), now)
        return now + errand.LOOK_AGAIN

    def _job(self, seen: SeenErasure, around: Surroundings, one: StoreSearch, marks: list[str]) -> StartJob:
        storage, now, database = around.storages[one.place], self._context.clock.now(), around.database
        target, secrets = storage_target(storage.meta.named, storage.spec, self._context.cluster_id)
        image = self._context.images.any_runner()
        if image is None:
            message = "this installation names no runner image; set runners.images of the chart"
            raise UserFault(Reason.NO_RUNNER_IMAGE, message)
        systems = {there.seen.status.system_identifier for there in around.backups.stored}
        systems |= {database.status.system_identifier} if database is not None else set()
        task = RemainsTask(
            database=seen.spec.database_ref.name,
            database_uid=seen.meta.labels.get(LABEL_DATABASE_UID),
            engine=database.spec.engine if database is not None else None,
            systems=sorted(system for system in systems if system is not None),
            others=around.others,
            until=around.verified + MARGIN,
            marks=marks,
        )
        deadline = errand.deadline(now, SEARCH_DEADLINE)
        request = Request(
            run=seen.meta.name, deadline=deadline, storage=target, secrets=list(secrets), image=image, job=task
        )
        template, claim = storage.spec.pod_template, storage.spec.claim
        name = _job_name(seen, one)
        kind = ERASURE_REQUESTS.kind
        return errand.order(seen.meta, kind, name, request, image, pod_template=template, storage_claim=claim)

    def _marks(self, around: Surroundings, place: str) -> tuple[list[str], int]:
        """What a look through a place leaves out: backups that are counted by their objects, and what runs that began
        after the erasure left; and how many hold the person and lie there, or come there yet."""
        here = {None, *(store.storage for store in around.stores if store.place == place)}
        counted = {
            copy_mark(read.database_name(one.seen), one.name)
            for one in around.backups.stored
            if holds(one.began, around.verified) and one.storage in here
        }
        later = {
            copy_mark(read.database_name(one), one.meta.name)
            for one in around.backups.without
            if not holds(one.status.start_time or one.meta.created, around.verified)
        }
        coming = {one.name for one in under_way(around.backups.without) if holds(one.at, around.verified)}
        refs = {one.meta.name: one.spec.storage_ref for one in around.backups.without}
        awaited = [name for name in coming if (ref := refs[name]) is None or ref.name in here]
        return sorted(counted | later), len(counted) + len(awaited)

    def _strayed(self, seen: SeenErasure, around: Surroundings) -> list[Store]:
        """Places that something of this erasure lies in, and no BackupStorage names."""
        of_backups = [
            (one.storage or "", one.seen.status.location or "")
            for one in around.backups.stored
            if holds(one.began, around.verified)
        ]
        receipt = seen.status.receipt
        own = [(seen.spec.storage_ref.name, receipt.uri)] if receipt is not None else []
        names = {store.storage for store in around.stores}
        return strayed([*own, *of_backups], seen.meta.namespace, around.stores, names)

    async def _gather(self, seen: SeenErasure, verified: datetime) -> Surroundings:
        context, namespace, name = self._context, seen.meta.namespace, seen.spec.database_ref.name
        databases = await self._databases(namespace)
        database = databases.pop(name, None)
        system = database.status.system_identifier if database is not None else None
        backups = await backups_of(context, namespace, name, seen.meta.labels.get(LABEL_DATABASE_UID), system)
        others = {
            other: found.status.system_identifier
            for other, found in databases.items()
            if found.status.system_identifier is not None
        }
        stores: list[Store] = []
        storages: dict[str, SeenStorage] = {}
        async for body in context.kube.list(BACKUP_STORAGES, namespace):
            storage = read.storage(body)
            place = place_of(storage.spec)[:MOST_PLACE]
            stores.append(_store(storage, place))
            storages.setdefault(place, storage)
        kept = (*kept_of(context, backups.stored), *under_way(backups.without))
        return Surroundings(verified, database, others, backups, kept, storages, tuple(stores))

    async def _databases(self, namespace: str) -> dict[str, SeenDatabase]:
        found: dict[str, SeenDatabase] = {}
        async for body in self._context.kube.list(DATABASES, namespace):
            try:
                one = read.database(body)
            except UserFault:
                continue  # said on the Database itself; what would be its own counts as anybody's
            found[one.meta.name] = one
        return found

    async def _write(
        self,
        seen: SeenErasure,
        around: Surroundings,
        searches: Sequence[StoreSearch],
        again: datetime | None,
        *,
        after: tuple[Action, ...] = (),
    ) -> datetime | None:
        """Reckon, and write it where it is another than before; when to look again."""
        now, there = self._context.clock.now(), around.storages
        found = remains(around.kept, around.verified, now, searches, there)
        condition = searches_condition(found.stores, there, around.holding)
        others = [one for one in seen.status.conditions if one.type != condition.type]
        mine = merge_conditions(seen.status.conditions, [condition], seen.meta.generation, now)
        if _same(found, seen.status.remains):
            found = found.model_copy(update={"at": seen.status.remains.at}) if seen.status.remains else found
        status = seen.status.model_copy(update={"remains": found, "conditions": [*others, *mine]}).dump()
        await self._applier.apply(seen.meta, seen.raw_status, Plan(status=status, after=after))
        if found.cleared_after == CLEARED:
            return None
        return min(again or now + LOOK_AGAIN, now + LOOK_AGAIN)

    async def _leftovers(self, key: Key, seen: SeenErasure) -> tuple[Action, ...]:
        """The last look's Job, where its end was recorded and the process died then."""
        names = (name.rpartition("/")[2] for name in self._context.workers.get(key, ()))
        if not any(name.startswith(f"{TASK}-") for name in names):
            return ()
        return (await errand.look(self._context, key, seen.meta, TASK, "")).leftovers


def _store(storage: SeenStorage, place: str) -> Store:
    s3 = storage.spec.s3
    root = f"s3://{s3.bucket}/{(s3.prefix or '').strip('/')}".rstrip("/") if s3 is not None else None
    return Store(place, storage.meta.name, storage.status.last_validated_time is not None, root)


def _judged(one: StoreSearch, ending: Ending, now: datetime) -> StoreSearch:
    found = ending.result.remains if ending.succeeded and ending.result is not None else None
    return searched(one, found) if found else not_searched(one, f"{ending.reason}: {ending.message}", now)


def _job_name(seen: SeenErasure, one: StoreSearch) -> str:
    return task_job_name(TASK, seen.meta.name, f"{seen.meta.uid}/{one.place}/{one.tried}/{one.tries}")


def _with(searches: Sequence[StoreSearch], changed: StoreSearch) -> list[StoreSearch]:
    return [changed if one.place == changed.place else one for one in searches]


def _same(found: ErasureRemains, known: ErasureRemains | None) -> bool:
    return known is not None and found.model_copy(update={"at": known.at}) == known
