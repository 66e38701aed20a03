"""The objects that a run refers to: from the cache where that will do, else live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers.context import Context
from databosun.controllers.seen import Meta, SeenDatabase
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_DATABASE_UID
from databosun.domain.run import Doomed
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, LIFECYCLE_POLICIES, Resource
from databosun.runtime.queue import Key

T = TypeVar("T")
Parse = Callable[[Mapping[str, Any]], T]

_MISSING = {
    DATABASES.kind: Reason.DATABASE_NOT_FOUND,
    BACKUP_STORAGES.kind: Reason.STORAGE_NOT_FOUND,
    LIFECYCLE_POLICIES.kind: Reason.LIFECYCLE_POLICY_NOT_FOUND,
}


async def find(
    context: Context, resource: Resource, namespace: str, name: str | None, parse: Parse[T], *, live: bool = False
) -> T | None:
    """An object; None where there is none, or none is named. UserFault where it cannot be read."""
    if name is None:
        return None
    body = None if live else context.cache.get(Key(resource.kind, namespace, name))
    body = body or await context.kube.get(resource, namespace, name)
    return parse(body) if body is not None else None


async def find_usable(
    context: Context, resource: Resource, namespace: str, name: str | None, parse: Parse[T], *, live: bool = False
) -> T | None:
    """The same; one that cannot be read is as good as none."""
    try:
        return await find(context, resource, namespace, name, parse, live=live)
    except UserFault:
        return None  # said on the object itself


async def demand(
    context: Context, resource: Resource, namespace: str, name: str, parse: Parse[T], of: str, *, live: bool = False
) -> T:
    """An object that must be there. `of`: who names it, for the UserFault where it is not."""
    found = await find(context, resource, namespace, name, parse, live=live)
    if found is None:
        raise UserFault(_MISSING[resource.kind], f"{resource.kind} {namespace}/{name} {of} does not exist")
    return found


def without_database(run: Meta, name: str, database: SeenDatabase | None) -> Doomed | None:
    """Why there is nothing for a run to work on; None where its Database is there."""
    if database is None:
        message = f"Database {run.namespace}/{name} named in spec.databaseRef does not exist"
        return Doomed(Reason.DATABASE_NOT_FOUND, message)
    if run.labels.get(LABEL_DATABASE_UID, database.meta.uid) != database.meta.uid:
        message = f"Database {run.namespace}/{name} was created anew; this run is of the one before"
        return Doomed(Reason.DATABASE_REPLACED, message)
    return None
