"""Objects as users apply them and the operator fills them, told in one line each."""

from __future__ import annotations

from typing import Any

from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, DATABASES, Object
from support.fakekube import FakeKube

CREATED = "2026-02-01T00:00:00Z"


def condition(kind: str, status: bool, reason: str = "Ready", message: str = "") -> Object:
    """One condition."""
    return {"type": kind, "status": str(status), "reason": reason, "message": message}


READY = condition("Ready", True)


def database(kube: FakeKube, name: str = "orders", *conditions: Object, **status: Any) -> Object:
    """A healthy tier 2 database, unless conditions or status say otherwise."""
    healthy = {
        "conditions": list(conditions) or [READY, condition("Protected", True), condition("RPOMet", True)],
        "engineVersion": "15.4",
        "objectives": {"tier": 2, "rto": "1h", "rpo": "1h"},
        "recovery": {"latest": "2026-03-01T11:48:00Z"},
        "lastBackup": {"name": f"{name}-2603011148-abcde", "at": "2026-03-01T11:48:00Z", "sizeBytes": 3 * 1024**3},
        "policies": [{"name": "daily", "uid": "uid-of-daily", "next": "2026-03-01T13:30:00Z"}],
    }
    connection = {"host": "orders", "credentialsSecretRef": {"name": "orders"}}
    body = {
        "metadata": {"name": name, "creationTimestamp": CREATED, "labels": {"team": "shop"}},
        "spec": {"engine": "PostgreSQL", "tier": 2, "connection": connection},
        "status": {**healthy, **status},
    }
    return kube.put(DATABASES, body)


def policy(kube: FakeKube, name: str = "daily", *conditions: Object, **parts: Any) -> Object:
    """A policy for `orders`; `parts` are fields of spec, and `status`."""
    status = {"conditions": list(conditions) or [READY], "databases": {"matched": 1, "protected": 1, "failing": 0}}
    status |= parts.pop("status", {})
    spec = {"databaseRef": {"name": "orders"}, "storageRef": {"name": "prod"}, "preset": "Production", **parts}
    spec = {field: value for field, value in spec.items() if value is not None}
    metadata = {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": CREATED}
    return kube.put(BACKUP_POLICIES, {"metadata": metadata, "spec": spec, "status": status})


def storage(kube: FakeKube, name: str = "prod", *conditions: Object, **status: Any) -> Object:
    """A storage that was validated ten minutes ago."""
    known = {
        "conditions": list(conditions) or [READY],
        "lastValidatedTime": "2026-03-01T11:50:00Z",
        "lastAttemptTime": "2026-03-01T11:50:00Z",
        **status,
    }
    metadata = {"name": name, "creationTimestamp": CREATED}
    return kube.put(BACKUP_STORAGES, {"metadata": metadata, "spec": {"s3": {"bucket": "backups"}}, "status": known})


def backup(kube: FakeKube, name: str, *conditions: Object, finished: bool = True, **status: Any) -> Object:
    """A Backup of `orders`; a good full one unless its status says otherwise."""
    good = {
        "phase": "Succeeded",
        "type": "Full",
        "method": "Physical",
        "completionTime": "2026-03-01T11:48:00Z",
        "size": {"logical": 4 * 1024**3, "stored": 1024**3, "human": "1.0GiB"},
        "duration": "4m12s",
        "checksum": "ab" * 32,
        "conditions": list(conditions) or [READY],
    }
    labels = {"databosun.io/finished": "Succeeded"} if finished else {}
    spec = {
        "databaseRef": {"name": "orders"},
        "policyRef": {"name": "daily"},
        "storageRef": {"name": "prod"},
        "scheduledFor": "2026-03-01T11:48:00Z",
    }
    metadata = {"name": name, "labels": labels, "creationTimestamp": "2026-03-01T11:48:00Z"}
    return kube.put(BACKUPS, {"metadata": metadata, "spec": spec, "status": {**good, **status}})
