"""Which policies cover which databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenPolicy
from databosun.domain.covering import covers
from databosun.domain.errors import UserFault
from databosun.runtime.cache import Indexer
from databosun.runtime.queue import Key

ANY = "*"


def _policy_refs(body: Mapping[str, Any]) -> list[str]:
    spec = body.get("spec", {})
    named = spec.get("databaseRef", {}).get("name")
    return [f"database:{named or ANY}", f"storage:{spec.get('storageRef', {}).get('name')}"]


def _backup_refs(body: Mapping[str, Any]) -> list[str]:
    spec = body.get("spec", {})
    refs = [(kind, spec.get(f"{kind}Ref", {}).get("name")) for kind in ("database", "storage", "policy")]
    return [f"{kind}:{name}" for kind, name in refs if name]


def _approval_refs(body: Mapping[str, Any]) -> list[str]:
    ref = body.get("spec", {}).get("ref", {})
    return [f"{ref.get('kind')}:{ref.get('name')}"]


INDEXERS: Mapping[str, Indexer] = {"BackupPolicy": _policy_refs, "Backup": _backup_refs, "Approval": _approval_refs}


def selects(policy: SeenPolicy, database: SeenDatabase) -> bool:
    """Whether the policy covers the database."""
    return covers(policy.spec, database.meta.name, database.meta.labels)


def policy_keys_of(context: Context, namespace: str, database: str) -> list[Key]:
    """Keys of the policies that name the database, and of all that select by labels."""
    named = context.cache.referring("BackupPolicy", namespace, f"database:{database}")
    by_labels = context.cache.referring("BackupPolicy", namespace, f"database:{ANY}")
    return [*named, *by_labels]


def database_keys_of(context: Context, namespace: str, body: Mapping[str, Any]) -> list[Key]:
    """Keys of the databases that a policy may cover: the named one, or all of the namespace for a selector."""
    named = body.get("spec", {}).get("databaseRef", {}).get("name")
    return [Key("Database", namespace, named)] if named else context.cache.keys("Database", namespace)


def databases_of(context: Context, policy: SeenPolicy) -> list[SeenDatabase]:
    """The databases that the policy covers, by name."""
    namespace, ref = policy.meta.namespace, policy.spec.database_ref
    keys = [Key("Database", namespace, ref.name)] if ref else sorted(context.cache.keys("Database", namespace))
    bodies = (context.cache.get(key) for key in keys)
    found = (_readable(body) for body in bodies if body is not None)
    return [one for one in found if one is not None and selects(policy, one) and not one.meta.deleting]


def _readable(body: Mapping[str, Any]) -> SeenDatabase | None:
    try:
        return read.database(body)
    except UserFault:
        return None  # said on the Database itself
