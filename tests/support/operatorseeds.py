"""Objects and data as they are after backups of earlier days."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from databosun.domain.plan import (
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_POLICY_UID,
    LABEL_SCHEDULE,
    LABEL_STORAGE_UID,
)
from databosun.kube.resources import BACKUPS, Object
from support.archiversim import SYSTEM
from support.objects import (
    backup,
    database,
    drill,
    policy,
    storage,
)
from support.operator import Rig
from support.operatordriver import MINUTE, Driver


def soon(rig: Rig) -> str:
    """A cron expression that matches once a day, some minutes from now."""
    due = rig.clock.now() + 5 * MINUTE
    return f"{due.minute} {due.hour} * * *"


async def seeded(
    drive: Driver, number: int, *, cron: str = "0 0 1 1 *", store: Object | None = None, **spec: Any
) -> None:
    """Objects as they are after so many daily backups; the newest is a day old."""
    rig = drive.rig
    await rig.create(store or storage(), database(), policy(cron=cron, **spec))
    uids = {
        kind: (await rig.objects(kind))[0]["metadata"]["uid"] for kind in ("Database", "BackupStorage", "BackupPolicy")
    }
    for index in range(number):
        await seed(rig, f"seed-{index}", uids, rig.clock.now() - timedelta(days=number - index), spec)


THREE = ("users", "orders", "reports")


async def several(
    drive: Driver, *, names: tuple[str, ...] = THREE, drilled: tuple[str, ...] | None = None, **spec: Any
) -> None:
    """Databases with one backup each (or those of `drilled`), `users` in a group of its own, and a drill of all."""
    rig = drive.rig
    made = [database(name, labels={"team": "shop", "stage": "base" if name == "users" else "apps"}) for name in names]
    shared = policy("nightly", databaseSelector={"matchLabels": {"team": "shop"}})
    await rig.create(storage(maxConcurrentRuns=4), *made, shared)
    for name in names if drilled is None else drilled:
        of = await rig.get("Database", name)
        uids = {
            "Database": of["metadata"]["uid"],
            "BackupStorage": (await rig.get("BackupStorage", "prod"))["metadata"]["uid"],
            "BackupPolicy": (await rig.get("BackupPolicy", "nightly"))["metadata"]["uid"],
        }
        await seed(rig, f"seed-{name}", uids, rig.clock.now() - timedelta(days=1), {}, of=name)
    order = [{"databaseSelector": {"matchLabels": {"stage": "base"}}}]
    together = {"databaseSelector": {"matchLabels": {"team": "shop"}}, "order": order}
    await rig.create(drill("disaster", **{"cron": soon(rig), **together, **spec}))


async def seed(
    rig: Rig, name: str, uids: dict[str, str], at: datetime, spec: dict[str, Any], of: str = "orders"
) -> None:
    """One finished backup, its record and its data."""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        LABEL_FINISHED: "Succeeded",
        LABEL_SCHEDULE: "full",
        LABEL_DATABASE_UID: uids["Database"],
        LABEL_STORAGE_UID: uids["BackupStorage"],
        LABEL_POLICY_UID: uids["BackupPolicy"],
    }
    keeps = spec.get("deletionPolicy", "Retain")
    body = backup(
        name,
        storageRef={"name": "prod"},
        schedule="full",
        scheduledFor=stamp,
        type="Full",
        method="Auto",
        deletionPolicy=keeps,
        databaseRef={"name": of},
    )
    body["metadata"] |= {"labels": labels} | ({"finalizers": ["databosun.io/data"]} if keeps == "Delete" else {})
    created = await rig.kube.create(BACKUPS, rig.namespace, body)
    rig.births.by_uid[created["metadata"]["uid"]] = at
    status = {
        "phase": "Succeeded",
        "startTime": stamp,
        "completionTime": stamp,
        "snapshotTime": stamp,
        "checksum": "0" * 64,
        "type": "Full",
        "method": "Physical",
        "systemIdentifier": SYSTEM,
        "engineVersion": "18.1",
        "size": {"logical": 1000, "stored": 500, "human": "500B"},
        "base": name,
        "chainLength": 0,
        "location": f"{of}/backups/{name}",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "lastTransitionTime": stamp}],
    }
    await rig.kube.patch_status(BACKUPS, rig.namespace, name, status, created["metadata"]["resourceVersion"])
    rig.agents.stored(of, name)
