"""Objects of our kinds, as people write them, and what their conditions say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.kube.resources import APPROVALS, Object


def storage(name: str = "prod", **spec: Any) -> Object:
    """A BackupStorage on a volume."""
    values = {"volume": {"claimName": "backups", "path": "/"}, **spec}
    return _object("BackupStorage", name, {key: value for key, value in values.items() if value is not None})


def database(name: str = "orders", labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A PostgreSQL Database."""
    connection = {"host": f"{name}.db", "credentialsSecretRef": {"name": f"{name}-backup"}}
    return _object("Database", name, {"engine": "PostgreSQL", "connection": connection, **spec}, labels)


def policy(name: str = "nightly", cron: str = "0 0 1 1 *", **spec: Any) -> Object:
    """A BackupPolicy of one full schedule; by default one that is not due."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "schedules": [{"name": "full", "type": "Full", "cron": cron}],
    }
    if "databaseSelector" in spec:
        del base["databaseRef"]
    return _object("BackupPolicy", name, {**base, **spec})


def backup(name: str, not_after: datetime | None = None, **spec: Any) -> Object:
    """A Backup made by hand."""
    late = {"notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")} if not_after is not None else {}
    return _object(
        "Backup", name, {"policyRef": {"name": "nightly"}, "databaseRef": {"name": "orders"}, **late, **spec}
    )


def drill(name: str = "weekly", cron: str = "0 0 1 1 *", **spec: Any) -> Object:
    """A RestoreDrill of one database; by default one that is not due."""
    base = {"databaseRef": {"name": "orders"}, "schedule": {"cron": cron}}
    if "databaseSelector" in spec or "policyRef" in spec:
        del base["databaseRef"]
    return _object("RestoreDrill", name, {**base, **spec})


def drill_run(name: str, not_after: datetime | None = None, **spec: Any) -> Object:
    """A RestoreDrillRun made by hand."""
    late = {"notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")} if not_after is not None else {}
    return _object("RestoreDrillRun", name, {"databaseRef": {"name": "orders"}, **late, **spec})


def failover_test(name: str = "monthly", **spec: Any) -> Object:
    """A FailoverTest without a schedule, which asks for no backups."""
    guards = {"requireRecentBackup": "0s", "requireProvenBackup": "0s"}
    base = {"databaseRef": {"name": "orders"}, "evidence": {"storageRef": {"name": "prod"}}, "guards": guards}
    return _object("FailoverTest", name, {**base, **spec})


def failover_run(name: str, not_after: datetime, **spec: Any) -> Object:
    """A FailoverTestRun made by hand."""
    refs = {"testRef": {"name": "monthly"}, "databaseRef": {"name": "orders"}}
    return _object("FailoverTestRun", name, {**refs, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"), **spec})


def restore(name: str, not_after: datetime, **spec: Any) -> Object:
    """A Restore into an empty volume."""
    base = {
        "from": {"databaseRef": {"name": "orders"}},
        "target": {"volume": {"claimName": "new"}},
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("Restore", name, {**base, **spec})


def inquiry(name: str, not_after: datetime, **spec: Any) -> Object:
    """A question; by default for the records in the storage."""
    base: dict[str, Any] = {} if "comparison" in spec else {"records": {"storageRef": {"name": "prod"}}}
    return _object("Inquiry", name, {**base, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"), **spec})


def lifecycle(name: str = "old-orders", cron: str | None = "0 0 1 1 *", **spec: Any) -> Object:
    """A LifecyclePolicy that deletes orders after a year; by default one that is not due."""
    rule = {
        "name": "old",
        "target": {"table": "public.orders"},
        "match": {"column": "created_at", "olderThan": "365d"},
        "action": {"type": "Delete"},
        "limits": {"maxRowsPerRun": 100},
    }
    base: dict[str, Any] = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "rules": [rule],
        "preconditions": {"backupWithin": "2d"},
    }
    if cron is not None:
        base["schedule"] = {"cron": cron}
    return _object("LifecyclePolicy", name, {**base, **spec})


def lifecycle_run(name: str, not_after: datetime, **spec: Any) -> Object:
    """A LifecycleRun made by hand; by default a dry one."""
    late = {"policyRef": {"name": "old-orders"}, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return _object("LifecycleRun", name, {**late, **spec})


def dataexport(name: str, not_after: datetime, **spec: Any) -> Object:
    """All rows of one person, who stands in one table."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "subjectSecretRef": {"name": name, "key": "subject"},
        "rules": [{"name": "customers", "table": "public.customers", "column": "email", "along": ["orders"]}],
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("DataExport", name, {**base, **spec})


def erasure(name: str, not_after: datetime, **spec: Any) -> Object:
    """One person, who stands in one table."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "subjectSecretRef": {"name": name, "key": "subject"},
        "rules": [{"name": "customers", "table": "public.customers", "column": "email", "action": {"type": "Delete"}}],
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("ErasureRequest", name, {**base, **spec})


def approval_of(body: Object, not_after: datetime, plan_hash: str | None = None) -> Object:
    """Somebody's consent to what a Restore has staged, or to the plan with that hash."""
    name = body["metadata"]["name"]
    spec = {
        "ref": {"kind": body["kind"], "name": name},
        "planHash": plan_hash or body["status"]["staged"]["planHash"],
        "approvedBy": "somebody",
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    metadata = {"name": f"{name}-{spec['planHash'][:4]}"}
    return {"apiVersion": APPROVALS.api_version, "kind": "Approval", "metadata": metadata, "spec": spec}


def _object(kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Object:
    return {
        "apiVersion": "databosun.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": dict(spec),
    }


def conditions(body: Object) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    found = body.get("status", {}).get("conditions", ())
    return {one["type"]: (one["status"], one["reason"]) for one in found}
