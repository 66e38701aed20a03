"""Which policies cover which databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from databosun.api.v1alpha1.common import LabelSelector
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenDrill, SeenPolicy
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


def _drill_refs(body: Mapping[str, Any]) -> list[str]:
    spec = body.get("spec", {})
    policy = spec.get("policyRef", {}).get("name")
    return [f"database:{spec.get('databaseRef', {}).get('name') or ANY}", *([f"policy:{policy}"] if policy else [])]


def _drill_run_refs(body: Mapping[str, Any]) -> list[str]:
    spec, chosen = body.get("spec", {}), body.get("status", {}).get("backup", {}).get("name")
    refs = [("database", spec.get("databaseRef", {}).get("name")), ("drill", spec.get("drillRef", {}).get("name"))]
    return [f"{kind}:{name}" for kind, name in (*refs, ("backup", chosen)) if name]


def _restore_refs(body: Mapping[str, Any]) -> list[str]:
    spec, status = body.get("spec", {}), body.get("status", {})
    # What is staged has been read.
    chosen = [] if "staged" in status else [one.get("name") for one in status.get("candidates", ())]
    databases = {spec.get(place, {}).get("databaseRef", {}).get("name") for place in ("from", "target")}
    return [
        *(f"database:{name}" for name in sorted(filter(None, databases))),
        *(f"backup:{name}" for name in chosen if name),
    ]


def _database_refs(body: Mapping[str, Any]) -> list[str]:
    system = body.get("status", {}).get("systemIdentifier")
    return [f"system:{system}"] if system else []


def _failover_test_refs(body: Mapping[str, Any]) -> list[str]:
    return [f"database:{body.get('spec', {}).get('databaseRef', {}).get('name')}"]


def _failover_run_refs(body: Mapping[str, Any]) -> list[str]:
    spec = body.get("spec", {})
    refs = [(kind, spec.get(f"{kind}Ref", {}).get("name")) for kind in ("database", "test")]
    return [f"{kind}:{name}" for kind, name in refs if name]


def _inquiry_refs(body: Mapping[str, Any]) -> list[str]:
    asked, chosen = body.get("spec", {}).get("comparison", {}), body.get("status", {}).get("backup", {}).get("name")
    refs = [("database", asked.get("databaseRef", {}).get("name")), ("backup", chosen)]
    return [f"{kind}:{name}" for kind, name in refs if name]


def _lifecycle_policy_refs(body: Mapping[str, Any]) -> list[str]:
    spec = body.get("spec", {})
    return [f"{kind}:{spec.get(f'{kind}Ref', {}).get('name')}" for kind in ("database", "storage")]


def _lifecycle_run_refs(body: Mapping[str, Any]) -> list[str]:
    return [f"lifecycle:{body.get('spec', {}).get('policyRef', {}).get('name')}"]


def _person_refs(body: Mapping[str, Any]) -> list[str]:
    return [f"database:{body.get('spec', {}).get('databaseRef', {}).get('name')}"]


INDEXERS: Mapping[str, Indexer] = {
    "Database": _database_refs,
    "BackupPolicy": _policy_refs,
    "Backup": _backup_refs,
    "RestoreDrill": _drill_refs,
    "RestoreDrillRun": _drill_run_refs,
    "FailoverTest": _failover_test_refs,
    "FailoverTestRun": _failover_run_refs,
    "Restore": _restore_refs,
    "Inquiry": _inquiry_refs,
    "LifecyclePolicy": _lifecycle_policy_refs,
    "LifecycleRun": _lifecycle_run_refs,
    "ErasureRequest": _person_refs,
    "DataExport": _person_refs,
    "Approval": _approval_refs,
}


def selects(policy: SeenPolicy, database: SeenDatabase) -> bool:
    """Whether the policy covers the database."""
    return covers(policy.spec, database.meta.name, database.meta.labels)


def policy_keys_of(context: Context, namespace: str, database: str) -> list[Key]:
    """Keys of the policies that name the database, and of all that select by labels."""
    named = context.cache.referring("BackupPolicy", namespace, f"database:{database}")
    by_labels = context.cache.referring("BackupPolicy", namespace, f"database:{ANY}")
    return [*named, *by_labels]


def drill_keys_of(context: Context, namespace: str, database: str) -> list[Key]:
    """Keys of the RestoreDrills that name the database, and of all that select otherwise."""
    named = context.cache.referring("RestoreDrill", namespace, f"database:{database}")
    return [*named, *context.cache.referring("RestoreDrill", namespace, f"database:{ANY}")]


def drills(context: Context, drill: SeenDrill, database: SeenDatabase) -> bool:
    """Whether the drill covers the database."""
    spec = drill.spec
    if spec.database_ref is not None:
        return spec.database_ref.name == database.meta.name
    if spec.database_selector is not None:
        return selected(database.meta.labels, spec.database_selector)
    if spec.policy_ref is None:
        return False
    body = context.cache.get(Key("BackupPolicy", drill.meta.namespace, spec.policy_ref.name))
    try:
        return body is not None and selects(read.policy(body), database)
    except UserFault:
        return False  # said on the policy itself


def selected(labels: Mapping[str, str], selector: LabelSelector) -> bool:
    """Whether the labels are all that the selector wants."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items())


def drilled_by(context: Context, drill: SeenDrill) -> list[SeenDatabase]:
    """The databases that the drill covers, by name."""
    namespace, ref = drill.meta.namespace, drill.spec.database_ref
    keys = [Key("Database", namespace, ref.name)] if ref else sorted(context.cache.keys("Database", namespace))
    bodies = (context.cache.get(key) for key in keys)
    found = (_readable(body) for body in bodies if body is not None)
    return [one for one in found if one is not None and drills(context, drill, one) and not one.meta.deleting]


def readers_of(context: Context, namespace: str, backups: Iterable[str]) -> list[str]:
    """Drills and restores under way that have chosen one of these backups."""
    keys = {
        key
        for name in backups
        for kind in ("RestoreDrillRun", "Restore", "Inquiry")
        for key in context.cache.referring(kind, namespace, f"backup:{name}")
    }
    return [f"{key.kind} {key.name}" for key in sorted(keys) if not _over(context.cache.get(key))]


def _over(body: Mapping[str, Any] | None) -> bool:
    return body is None or "completionTime" in body.get("status", {})


def same_server(context: Context, database: Key, body: Mapping[str, Any]) -> list[Key]:
    """Keys of the other Databases that name the same server."""
    refs = _database_refs(body)
    found = context.cache.referring("Database", database.namespace, refs[0]) if refs else ()
    return [key for key in found if key != database]


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
