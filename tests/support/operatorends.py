"""How a scenario ended: what must not depend on when the operator died."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from databosun.domain.plan import (
    LABEL_FINISHED,
)
from databosun.kube.resources import Object
from support.objects import (
    conditions,
)
from support.operator import Rig

PLANS = ("Database", "BackupStorage", "BackupPolicy", "FailoverTest", "RestoreDrill", "LifecyclePolicy")
WORK = ("backup", "bridge", "drill", "erase", "export", "failover", "joint", "lifecycle", "restore")


@dataclass(frozen=True, slots=True)
class End:
    """What must not depend on when the operator died."""

    backups: tuple[Any, ...]
    others: tuple[Any, ...]
    agents: tuple[Any, ...]
    stored: tuple[str, ...]
    jobs: int
    pods: int
    archivers: int
    slots: tuple[str, ...]
    statuses: tuple[Any, ...]
    taken: int


async def end_of(rig: Rig) -> End:
    """The end state, with names that depend on uids left out."""
    seen = await rig.everything()
    bodies = [body for at, body in sorted(seen.items())]
    backups = [body for body in bodies if body["kind"] == "Backup"]
    work = Counter((task, attempt) for (task, _, attempt), _ in rig.agents.bucket.agents.items() if task in WORK)
    runs = ("FailoverTestRun", "RestoreDrillRun", "Restore", "LifecycleRun", "ErasureRequest", "DataExport")
    others = [body for body in bodies if body["kind"] in runs]
    return End(
        backups=tuple(sorted(_backup(body) for body in backups)),
        others=tuple(sorted(_run(body) for body in others)),
        agents=tuple(sorted(work.items())),
        stored=tuple(sorted(_alias(name) for _, name in rig.agents.bucket.backups)),
        jobs=sum(body["kind"] == "Job" for body in bodies),
        pods=sum(body["kind"] == "Pod" for body in bodies),
        archivers=sum(body["kind"] == "Deployment" for body in bodies),
        slots=tuple(sorted(rig.agents.archivers.source.slots)),
        taken=rig.agents.bucket.old.taken + rig.agents.bucket.people.erased,
        statuses=tuple(
            (body["kind"], body["metadata"]["name"], _status(body)) for body in bodies if body["kind"] in PLANS
        ),
    )


def _alias(name: str) -> str:
    return name if name.startswith(("seed-", "mine", "first", "second")) else "run"


def _run(body: Object) -> Any:
    status = body.get("status", {})
    chosen = status.get("backup")
    took = status.get("rto", {}).get("took", "")
    if "databaseRef" not in body["spec"] and took:
        took = "by the clock"  # of many databases: it depends on when the operator looked
    return (
        *_backup(body),
        chosen["name"] if isinstance(chosen, dict) else chosen or "",
        status.get("proven", False),
        took,
        status.get("evidence", {}).get("sha256", "") != "",
        status.get("processed", 0),
    )


def _backup(body: Object) -> Any:
    status, metadata = body.get("status", {}), body["metadata"]
    attempts = tuple((one["number"], one.get("reason"), "endedAt" in one) for one in status.get("attempts", ()))
    return (
        _alias(metadata["name"]),
        status.get("phase"),
        attempts,
        status.get("failure", {}).get("reason", ""),
        metadata["labels"].get(LABEL_FINISHED, ""),
        status.get("proven", {}).get("level", "") if body["kind"] == "Backup" else "",
        tuple(metadata.get("finalizers", ())),
        tuple(sorted(conditions(body).items())),
    )


def _status(body: Object) -> Any:
    status = body.get("status", {})
    cursors = tuple(
        (entry.get("consecutiveFailures", 0), entry.get("missedSlots", 0), entry.get("runNowToken"))
        for entry in (*status.get("policies", ()), *status.get("drills", ()))
    )
    counts = status.get("backups", {})
    return (
        tuple(sorted(conditions(body).items())),
        cursors,
        status.get("recovery", {}).get("backups"),
        (counts.get("total"), counts.get("held"), counts.get("bytes")) if counts else None,
        status.get("databases", {}).get("matched"),
        status.get("lastProven", {}).get("rto"),
        status.get("estimate", {}).get("restoreNowSeconds"),
        tuple(sorted(status.get("runs", {}).items())),
        "pendingDeletions" in status,
        len(status.get("recovery", {}).get("gaps", ())),
        "archiver" in status,
        tuple((rule["remaining"], rule["processed"], rule["state"]) for rule in status.get("rules", ())),
        tuple(body["metadata"].get("finalizers", ())),
    )
