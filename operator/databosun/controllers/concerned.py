"""Who looks again when an object has changed: whatever refers to it, or waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from databosun.controllers.context import Context
from databosun.controllers.matching import database_keys_of, drill_keys_of, policy_keys_of, same_server
from databosun.domain.plan import ANNOTATION_FOR
from databosun.kube.resources import (
    RUN_KINDS,
)
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

Body = Mapping[str, Any]
READERS = ("RestoreDrillRun", "Restore", "Inquiry", "FailoverTestRun", "ErasureRequest", "DataExport")
APPROVABLE = frozenset({"BackupPolicy", "Database", "ErasureRequest", "FailoverTestRun", "LifecyclePolicy", "Restore"})


def concerned(context: Context, kind: str, key: Key, body: Body) -> Iterable[Key]:
    """Everything that is to be looked at again, besides the object itself."""
    cache, namespace = context.cache, key.namespace
    policies: Iterable[Key]
    if kind == "Database":
        yield from _of_database(context, key, body)
    elif kind == "Deployment":
        owner = owner_of(body["metadata"])
        yield from [owner] if owner is not None else []
    elif kind == "BackupStorage":
        policies = cache.referring("BackupPolicy", namespace, f"storage:{key.name}")
        yield from policies
        yield from _not_begun(context, "Backup", namespace, f"storage:{key.name}")
        yield from context.waiting.pop(key, ())
        for reader in READERS:
            yield from cache.keys(reader, namespace)
        yield from _of_lifecycles(context, namespace, f"storage:{key.name}")
        yield from _of_policies(context, policies)
    elif kind == "BackupPolicy":
        yield from database_keys_of(context, namespace, body)
        yield from _not_begun(context, "Backup", namespace, f"policy:{key.name}")
        yield from cache.referring("RestoreDrill", namespace, f"policy:{key.name}")
    else:
        yield from _beside(context, kind, key, body)


def _beside(context: Context, kind: str, key: Key, body: Body) -> Iterable[Key]:
    """The same of what no backup needs."""
    cache, namespace = context.cache, key.namespace
    if kind == "RestoreDrill":
        named = body.get("spec", {}).get("databaseRef", {}).get("name")
        yield from [Key("Database", namespace, named)] if named else cache.keys("Database", namespace)
        yield from _not_begun(context, "RestoreDrillRun", namespace, f"drill:{key.name}")
    elif kind == "FailoverTest":
        yield from cache.referring("FailoverTestRun", namespace, f"test:{key.name}")
    elif kind == "LifecyclePolicy":
        yield from _not_begun(context, "LifecycleRun", namespace, f"lifecycle:{key.name}")
        if body.get("status", {}).get("archivedUntil"):  # what the Database can bring back at once
            yield Key("Database", namespace, body.get("spec", {}).get("databaseRef", {}).get("name", ""))
    elif kind == "Approval":
        yield from _approved(context, namespace, body.get("spec", {}).get("ref", {}))


def _of_database(context: Context, key: Key, body: Body) -> Iterable[Key]:
    """Whoever refers to a Database."""
    namespace = key.namespace
    policies = policy_keys_of(context, namespace, key.name)
    yield from policies
    yield from drill_keys_of(context, namespace, key.name)
    yield from context.cache.referring("FailoverTest", namespace, f"database:{key.name}")
    yield from _of_lifecycles(context, namespace, f"database:{key.name}")
    for resource in RUN_KINDS:
        yield from _not_begun(context, resource.kind, namespace, f"database:{key.name}")
    yield from _of_policies(context, policies)
    yield from same_server(context, key, body)


def _approved(context: Context, namespace: str, ref: Body) -> Iterable[Key]:
    """What an Approval is about, and what waits for it."""
    if ref.get("kind") in APPROVABLE:
        yield Key(ref["kind"], namespace, ref["name"])
    if ref.get("kind") == "LifecyclePolicy":
        yield from _not_begun(context, "LifecycleRun", namespace, f"lifecycle:{ref['name']}")


def _of_policies(context: Context, policies: Iterable[Key]) -> Iterable[Key]:
    """Unfinished Backups that name a policy: one made by hand may name nothing else."""
    for policy in policies:
        yield from _not_begun(context, "Backup", policy.namespace, f"policy:{policy.name}")


def _of_lifecycles(context: Context, namespace: str, name: str) -> Iterable[Key]:
    """LifecyclePolicies that refer to it, and their runs that have not begun."""
    for policy in context.cache.referring("LifecyclePolicy", namespace, name):
        yield policy
        yield from _not_begun(context, "LifecycleRun", namespace, f"lifecycle:{policy.name}")


def _not_begun(context: Context, kind: str, namespace: str, name: str) -> Iterable[Key]:
    """Runs that refer to it and have not begun; one that has begun goes by its Jobs and its deadlines."""
    for key in context.cache.referring(kind, namespace, name):
        known = context.cache.get(key) or {}
        if not known.get("status", {}).get("attempts"):
            yield key


def owner_of(metadata: Body) -> Key | None:
    """The object that a Job or pod works for."""
    mark = metadata.get("annotations", {}).get(ANNOTATION_FOR, "")
    parts = mark.split("/")
    return Key(*parts) if len(parts) == 3 else None


def owners_of(context: Context, run: FinishedRun) -> list[Key]:
    """Database and policy of a finished run, where they are still the same ones."""
    found = (context.cache.key_of(uid) for uid in (run.database_uid, run.policy_uid) if uid)
    return [key for key in found if key is not None]
